"""A recipe of espnet3 on a corpus of noise, run by espnet3's own program."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
import yaml

import espnet_stnas  # noqa: F401  (as run.py of a recipe registers the encoder)
from benchmarks.tiny_search import TOKENS, search_config

SEARCH = "espnet_stnas.espnet3.search.Search"
SPACE = search_config()["encoder_conf"]
_DATASET = """\
from pathlib import Path

import soundfile
from espnet3.components.data.base_dataset import BaseDataset
from espnet3.contract import Field


class Dataset(BaseDataset):
    fields = (Field("speech", "audio"), Field("text", "text"))

    def __init__(self, directory):
        self.paths, self.texts = (
            [line.split()[1] for line in (Path(directory) / name).open()]
            for name in ("wav.scp", "text")
        )

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        speech, _ = soundfile.read(self.paths[int(index)], dtype="float32")
        return {"speech": speech, "text": self.texts[int(index)]}
"""
_MODEL = ("encoder", "frontend_conf", "specaug", "specaug_conf", "normalize")
_MODEL += ("model_conf",)


class Recipe:
    """A recipe; experiments stand in its directory ``exp``.

    Args:
        directory: Where to write it.
        corpus: Kaldi directories train and dev.
    """

    def __init__(self, directory: Path, corpus: Path) -> None:
        self.directory, self.corpus = directory, corpus
        (directory / "dataset").mkdir(parents=True)
        (directory / "dataset" / "__init__.py").write_text(_DATASET)

    def config(self, encoder_conf: dict, **trainer: object) -> dict:
        """conf/training.yaml of a training of two epochs."""
        known = search_config()
        data = {
            split: [{"data_src_args": {"directory": str(self.corpus / name)}}]
            for split, name in (("train", "train"), ("valid", "dev"))
        }
        preprocessor = {
            "_target_": "espnet2.train.preprocessor.CommonPreprocessor",
            "token_type": "char",
            "token_list": TOKENS,
        }
        logger = {
            "_target_": "lightning.pytorch.loggers.CSVLogger",
            "save_dir": str(self.directory / "csv"),
        }
        return {
            "task": "espnet3.systems.esp2_asr.task.ASRTask",
            "recipe_dir": str(self.directory),
            "seed": 3,
            "parallel": None,
            "model": {
                **{key: known[key] for key in _MODEL},
                "encoder_conf": encoder_conf,
                "token_list": TOKENS,
            },
            "dataset": {**data, "preprocessor": preprocessor},
            "optimizer": {"lr": 0.01},
            "scheduler": {"warmup_steps": 5},
            "best_model_criterion": [["valid/loss", 2, "min"]],
            "trainer": {
                "accelerator": "cpu",
                "max_epochs": 2,
                "log_every_n_steps": 2,
                "logger": [logger],
                "enable_progress_bar": True,
                **trainer,
            },
        }

    def search(self, *others: dict, target: str = SEARCH, **options: object) -> dict:
        """conf/training.yaml of a search of three epochs, the first of them warm-up."""
        search = {
            **{"_target_": target, "warmup_epochs": 1, "arch_fraction": 0.25},
            **{"optim2_conf": {"lr": 0.05}, **options},
        }
        return self.config(SPACE, max_epochs=3, callbacks=[search, *others])

    def run(self, name: str, config: dict, *stages: str) -> Path:
        """Run stages (the training) of an experiment; return its directory."""
        from espnet3.systems.base.system import BaseSystem
        from espnet3.systems.launch import launch

        path = self.directory / "conf" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(config))
        # espnet3 changes these for all of the process.
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        precision = torch.get_float32_matmul_precision()
        try:
            launch(
                BaseSystem,
                conf_package="egs3.TEMPLATE.esp2_asr",
                argv=[
                    *("--stages", *(stages or ("train",))),
                    *("--training_config", str(path)),
                ],
            )
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            torch.set_float32_matmul_precision(precision)
        return self.directory / "exp" / name


def checkpoint(experiment: Path) -> dict:
    """Lightning's last checkpoint of an experiment."""
    return torch.load(experiment / "last.ckpt", weights_only=True)
