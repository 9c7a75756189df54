"""The model `distilled`: what its loss is made of, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from espnet2.bin import asr_train
from espnet2.bin.asr_inference import Speech2Text
from espnet2.tasks.asr import ASRTask

from espnet_stnas.errors import ConfigError
from espnet_stnas.host.trained import load_model
from espnet_stnas.results.search_options import SEARCH_OPTIONS
from tests.search.conftest import command, corpus, search_config  # noqa: F401

LAYERS = ["tdnn-C1S3D1", "tdnn-C1D2"]


def config(layers: list[str], **changes: Any) -> dict:
    found = search_config(max_epoch=1, **changes)
    found["encoder_conf"] = {"layers": layers, "width": 6, "dropout_rate": 0.0}
    return {k: v for k, v in found.items() if k not in SEARCH_OPTIONS}


@pytest.fixture(scope="module")
def teacher(corpus, tmp_path_factory) -> Path:  # noqa: F811
    exp = tmp_path_factory.mktemp("teacher") / "exp"
    asr_train.main(command(corpus, exp, config([*LAYERS, "tdnn-C2D1"])))
    return exp


def distilled(**conf: Any) -> dict[str, Any]:
    model_conf = {"ctc_weight": 1.0, **conf}
    return {"model": "distilled", "model_conf": model_conf, "specaug": None}


@pytest.fixture(scope="module")
def student(teacher, corpus, tmp_path_factory) -> Path:  # noqa: F811
    exp = tmp_path_factory.mktemp("student") / "exp"
    changes = distilled(distill_from=str(teacher), distill_weight=0.25)
    asr_train.main(command(corpus, exp, config(LAYERS, **changes)))
    return exp


def speech() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "speech": torch.randn(2, 4000),
        "speech_lengths": torch.tensor([4000, 2900]),
        "text": torch.tensor([[2, 3, 4], [3, 2, -1]]),
        "text_lengths": torch.tensor([3, 2]),
    }


def built(exp: Path, **changes: Any) -> Any:
    """The model of a training, with other options, without its weights."""
    options = yaml.safe_load((exp / "config.yaml").read_text())
    for key, value in changes.items():
        if isinstance(value, dict):
            value = {**options[key], **value}
        options[key] = value
    file = exp / "changed.yaml"
    file.write_text(yaml.safe_dump(options))
    return ASRTask.build_model_from_file(file, None, "cpu")[0].train()


def test_the_loss_has_the_divergence_from_the_teacher(student, teacher):
    model, _ = load_model(student / "config.yaml", student / "1epoch.pth")
    other, _ = load_model(teacher / "config.yaml", teacher / "1epoch.pth")
    batch = speech()
    plain, stats, _ = model(**batch)
    assert "loss_distill" not in stats
    outputs = []
    for one in (model, other):
        encoded, lengths = one.encode(batch["speech"], batch["speech_lengths"])
        outputs.append(one.ctc.log_softmax(encoded).detach())
    log_p, log_q = outputs
    divergence = sum(
        (log_q[b, :n].exp() * (log_q - log_p)[b, :n]).sum() / 2
        for b, n in enumerate(lengths)
    )
    torch.manual_seed(1)
    loss, stats, _ = model.train()(**batch)
    torch.testing.assert_close(loss, 0.75 * plain + 0.25 * divergence)
    torch.testing.assert_close(stats["loss_distill"].squeeze(), divergence)
    torch.testing.assert_close(stats["loss"], plain.detach())
    loss.backward()
    assert all(p.grad is not None for p in model.encoder.parameters())
    assert all(p.grad is None for p in model._teacher[0].parameters())


def test_only_training_needs_the_teacher(student):
    """Its weights are nowhere, and decoding works without its directory."""
    weights = torch.load(student / "1epoch.pth", weights_only=True)
    model = built(student, model_conf={"distill_from": "no/such/place"})
    model.load_state_dict(weights)
    assert not any("teacher" in key for key in weights)
    model.eval()(**speech())
    with pytest.raises(ConfigError, match="no/such/place is no directory"):
        model.train()(**speech())
    speech2text = Speech2Text(
        student / "config.yaml", student / "1epoch.pth", ctc_weight=1.0, beam_size=2
    )
    assert len(speech2text(torch.randn(4000).numpy())[0]) >= 4


def test_the_log_has_the_divergence(student):
    checkpoint = torch.load(student / "checkpoint.pth", weights_only=False)
    stats = checkpoint["reporter"]["stats"][1]
    assert stats["train"]["loss_distill"] > 0
    assert "loss_distill" not in stats["valid"]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"distill_from": None}, "distill_from is None; model 'distilled' needs"),
        ({"distill_weight": 1}, "distill_weight is 1; accepted is a number above 0"),
        ({"distill_weight": True}, "distill_weight is True; accepted is a number"),
        ({"ctc_weight": 0.0}, "ctc_weight is 0, so that model 'distilled' has no CTC"),
    ],
)
def test_what_no_training_can_do_is_one_sentence(student, conf, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        built(student, model_conf=conf, decoder="rnn", decoder_conf={})


def test_a_teacher_that_does_not_suit_is_one_sentence(student, teacher, tmp_path):
    other = [*("<blank>", "<unk>"), *"cba", "<sos/eos>"]
    with pytest.raises(ConfigError, match="has another token list"):
        built(student, token_list=other)(**speech())
    slower = {"layers": ["tdnn-C1S2D1", "tdnn-C1D2"]}
    message = "has another frame rate: for one utterance, it gives 17 frames, and .* 26"
    with pytest.raises(ConfigError, match=message):
        built(student, encoder_conf=slower)(**speech())
    search = tmp_path / "search"
    search.mkdir()
    (search / "valid.loss.best.pth").touch()
    (search / "config.yaml").write_text("{warmup_epochs: 3}")
    with pytest.raises(ConfigError, match="which holds a search; accepted is a train"):
        built(student, model_conf={"distill_from": str(search)})(**speech())
