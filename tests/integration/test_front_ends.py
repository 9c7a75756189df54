"""Fixed encoders in ESPnet-EZ (ESPnet 202511) and espnet3 (202611)."""

from __future__ import annotations

import importlib.util

import pytest
import torch

import espnet_stnas  # noqa: F401  (as users register the encoder)
from tests.search.conftest import TOKENS, corpus, search_config  # noqa: F401

ENCODER = {"layers": ["tdnn-C1S3D1", "tdnn-C1D2"], "width": 6, "dropout_rate": 0.1}


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def training_config() -> dict:
    """The configuration of a training of seconds, with a fixed encoder."""
    config = search_config(encoder_conf=ENCODER, max_epoch=1)
    for option in ("optim2", "optim2_conf", "warmup_epochs", "arch_fraction"):
        del config[option]
    return config


@pytest.mark.slow
@pytest.mark.skipif(not has("espnetez"), reason="this ESPnet has no ESPnet-EZ")
def test_espnet_ez_trains(corpus, tmp_path, monkeypatch):  # noqa: F811
    """Statistics and an epoch, as in ESPnet-EZ's own examples."""
    pytest.importorskip("six", reason="ESPnet-EZ imports six, and does not require it")
    import espnetez

    monkeypatch.setattr("sys.argv", ["train"])  # it reads the command line
    trainer = espnetez.Trainer(
        task="asr",
        train_config={
            **espnetez.task.get_ez_task("asr").get_default_config(),
            **training_config(),
            "token_list": TOKENS,
            "token_type": "char",
        },
        output_dir=str(tmp_path / "exp"),
        stats_dir=str(tmp_path / "stats"),
        data_info={"speech": ["wav.scp", "sound"], "text": ["text", "text"]},
        train_dump_dir=corpus / "train",
        valid_dump_dir=corpus / "dev",
        ngpu=0,
    )
    trainer.collect_stats()
    trainer.train()
    weights = torch.load(tmp_path / "exp" / "1epoch.pth", weights_only=True)
    assert any(key.startswith("encoder.network.layers.1.tdnn-C1D2") for key in weights)


ESPNET3 = pytest.mark.skipif(not has("espnet3"), reason="this ESPnet has no espnet3")


def espnet3_model() -> torch.nn.Module:
    from espnet3.utils.task_utils import get_espnet_model

    config = training_config()
    keys = ("encoder", "encoder_conf", "model_conf", "normalize", "frontend_conf")
    return get_espnet_model(
        "espnet3.systems.esp2_asr.task.ASRTask",
        {**{key: config[key] for key in keys}, "token_list": TOKENS},
    )


@ESPNET3
def test_espnet3_steps():
    model = espnet3_model()
    before = {k: v.clone() for k, v in model.encoder.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss, _, _ = model(
        speech=torch.randn(2, 4000),
        speech_lengths=torch.tensor([4000, 3000]),
        text=torch.tensor([[2, 3, 4], [3, 2, -1]]),
        text_lengths=torch.tensor([3, 2]),
    )
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.encoder.parameters())
    optimizer.step()
    after = model.encoder.state_dict()
    assert any(not torch.equal(after[key], value) for key, value in before.items())
