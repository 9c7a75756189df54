"""A training as ESPnet leaves it, with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from benchmarks.tiny_search import TOKENS, make_corpus

CONFIG = {
    "token_list": TOKENS,
    "token_type": "char",
    "encoder": "stnas",
    "encoder_conf": {"layers": ["tdnn-C1S2", "conv2d-S2", "ff"], "width": 16},
    "frontend_conf": {"fs": 8000, "n_fft": 128, "hop_length": 80, "n_mels": 8},
    "normalize": "utterance_mvn",
    "model_conf": {"ctc_weight": 1.0},
}


def make_training(exp: Path, **changes: object) -> torch.nn.Module:
    """Write config.yaml and weights of a training, and return its model."""
    from espnet2.tasks.asr import ASRTask

    exp.mkdir()
    args = ASRTask.get_parser().parse_args(["--output_dir", str(exp)])
    config = {**vars(args), **CONFIG, **changes}
    (exp / "config.yaml").write_text(yaml.safe_dump(config))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # whatever was drawn before
        model, _ = ASRTask.build_model_from_file(str(exp / "config.yaml"))
    torch.save(model.state_dict(), exp / "valid.loss.best.pth")
    return model.eval()


@pytest.fixture(scope="session")
def speech(tmp_path_factory) -> Path:
    """Kaldi directories train and dev, of noise."""
    return make_corpus(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory, speech):
    """A training whose validation set exists, and its model."""
    exp = tmp_path_factory.mktemp("trained") / "asr"
    rows = [
        [str(speech / "dev" / "wav.scp"), "speech", "sound"],
        [str(speech / "dev" / "text"), "text", "text"],
    ]
    return exp, make_training(exp, valid_data_path_and_name_and_type=rows)


@pytest.fixture(scope="session")
def onnx_file(trained, tmp_path_factory) -> Path:
    """The training as an ONNX file."""
    pytest.importorskip("onnxruntime", reason="needs extra 'export'")
    pytest.importorskip("onnxscript", reason="needs extra 'export'")
    from espnet_stnas.cli.main import main

    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    main(["export", str(trained[0]), "--output", str(path)])
    return path
