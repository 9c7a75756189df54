"""A search of seconds, on a corpus of noise: for what does not depend on speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import yaml

CHOICE = ["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1Nbn"]
TOKENS = ["<blank>", "<unk>", "a", "b", "c", "<sos/eos>"]
RATE = 8000


def make_corpus(root: Path) -> Path:
    """Kaldi directories train (24 utterances) and dev (6), with shape files."""
    root.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    (root / "tokens.txt").write_text("\n".join(TOKENS) + "\n")
    for name, count in (("train", 24), ("dev", 6)):
        data = root / name
        (data / "wav").mkdir(parents=True)
        rows: dict[str, list[str]] = {"wav.scp": [], "text": [], "shape": []}
        for number in range(count):
            utterance = f"{name}{number:02d}"
            samples = int(generator.integers(2400, 5600))
            path = data / "wav" / f"{utterance}.wav"
            soundfile.write(path, 0.1 * generator.standard_normal(samples), RATE)
            text = "".join(generator.choice(list("abc"), 3))
            rows["wav.scp"].append(f"{utterance} {path}")
            rows["text"].append(f"{utterance} {text}")
            rows["shape"].append(f"{utterance} {samples}")
        for file, lines in rows.items():
            (data / file).write_text("\n".join(lines) + "\n")
    return root


def search_config(**changes: object) -> dict:
    """Options of a search of seconds."""
    return {
        "encoder": "stnas",
        "encoder_conf": {
            "width": 6,
            "dropout_rate": 0.2,
            "layers": ["tdnn-C1S3D1", CHOICE, CHOICE[:2]],
        },
        "frontend_conf": {"fs": 8000, "n_fft": 128, "hop_length": 80, "n_mels": 8},
        "specaug": "specaug",
        "specaug_conf": {
            "apply_time_warp": False,
            "apply_freq_mask": True,
            "freq_mask_width_range": [0, 2],
            "num_freq_mask": 1,
            "apply_time_mask": False,
        },
        "normalize": "utterance_mvn",
        "model_conf": {"ctc_weight": 1.0},
        "batch_type": "unsorted",
        "batch_size": 4,
        "num_workers": 0,
        "optim": "adam",
        "optim_conf": {"lr": 0.01},
        "optim2": "adam",
        "optim2_conf": {"lr": 0.05},
        "max_epoch": 3,
        "warmup_epochs": 1,
        "arch_fraction": 0.25,
        "best_model_criterion": [["valid", "loss", "min"]],
        "keep_nbest_models": 2,
        "use_tensorboard": False,
        "use_matplotlib": False,
        "log_interval": 2,
        **changes,
    }


def command(corpus: Path, output_dir: Path, config: dict, *options: str) -> list[str]:
    """The command line of a training on the corpus."""
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    yaml_file = output_dir.with_suffix(".yaml")
    yaml_file.write_text(yaml.safe_dump(config))
    return [
        *("--config", str(yaml_file), "--output_dir", str(output_dir)),
        *("--token_type", "char", "--token_list", str(corpus / "tokens.txt")),
        *(
            "--train_data_path_and_name_and_type",
            f"{corpus}/train/wav.scp,speech,sound",
        ),
        *("--train_data_path_and_name_and_type", f"{corpus}/train/text,text,text"),
        *("--valid_data_path_and_name_and_type", f"{corpus}/dev/wav.scp,speech,sound"),
        *("--valid_data_path_and_name_and_type", f"{corpus}/dev/text,text,text"),
        *("--train_shape_file", f"{corpus}/train/shape"),
        *("--valid_shape_file", f"{corpus}/dev/shape"),
        *("--resume", "true", *options),
    ]
