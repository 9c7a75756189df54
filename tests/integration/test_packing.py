"""ESPnet's packed models with a fixed encoder: the same result as before packing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import espnet_stnas  # noqa: F401  (as users register the encoder)
from tests.search.conftest import command, corpus, search_config  # noqa: F401


def train(corpus: Path, exp: Path) -> None:  # noqa: F811
    """One epoch with a fixed encoder, as asr.sh trains."""
    from espnet2.bin import asr_train

    config = search_config(max_epoch=1)
    config["encoder_conf"] = {"layers": ["tdnn-C1S3D1", "tdnn-C1D2"], "width": 6}
    for option in ("optim2", "optim2_conf", "warmup_epochs", "arch_fraction"):
        del config[option]
    asr_train.main(command(corpus, exp, config))


def recognised(**options: object) -> tuple:
    """The best hypothesis of a fixed utterance: text, tokens, score."""
    from espnet2.bin.asr_inference import Speech2Text

    speech2text = Speech2Text.from_pretrained(ctc_weight=1.0, beam_size=2, **options)
    wave = np.random.default_rng(1).standard_normal(4000).astype(np.float32)
    with torch.no_grad():
        text, tokens, _, hypothesis = speech2text(wave)[0]
    return text, tokens, float(hypothesis.score)


@pytest.mark.slow
def test_packed_model_recognises_the_same(corpus, tmp_path, monkeypatch):  # noqa: F811
    from espnet2.bin import pack

    # As in a recipe: paths are relative to its directory, and so packed.
    monkeypatch.chdir(tmp_path)
    train(corpus, Path("exp"))
    files = {"asr_train_config": "exp/config.yaml", "asr_model_file": "exp/1epoch.pth"}
    before = recognised(**files)
    options = [f"--{name}={path}" for name, path in files.items()]
    pack.main(["asr", *options, "--outpath", "packed.zip"])
    # Elsewhere, without the experiment.
    Path("exp").rename("moved")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    packed = str(tmp_path / "packed.zip")
    if importlib.util.find_spec("espnet_model_zoo"):
        monkeypatch.setenv("HOME", str(elsewhere))  # its cache is there
        after = recognised(model_tag=packed)
    else:
        from espnet2.main_funcs.pack_funcs import unpack

        after = recognised(**unpack(packed, str(elsewhere)))
    assert after == before
    (config,) = elsewhere.rglob("config.yaml")
    assert yaml.safe_load(config.read_text())["encoder"] == "stnas"
