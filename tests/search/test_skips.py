"""Steps whose loss or gradient is not finite, and mixed precision."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Optional

import pytest
import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.train import trainer

from espnet_stnas.errors import TrainingError
from espnet_stnas.search import program
from espnet_stnas.search.epoch import Epoch
from espnet_stnas.search.skips import nan_gradients
from tests.search.conftest import command, search_config
from tests.search.test_architecture_step import make, reporter

SPOILT = "train03"
Change = Callable[[torch.Tensor], torch.Tensor]


def search(corpus, exp, **changes) -> dict:
    program.main(command(corpus, exp, search_config(**changes)))
    return torch.load(exp / "checkpoint.pth", weights_only=True)


def spoil(monkeypatch, change: Optional[Change], only=SPOILT):
    """Change the loss of the batches with an utterance, or of all; or the recording."""
    forward = ESPnetASRModel.forward
    spoilt = []

    def changed(self, *args, utt_id=(), **kwargs):
        loss, stats, weight = forward(self, *args, **kwargs)
        if self.training and (only is None or only in utt_id):
            spoilt.append(utt_id)
            loss = change(loss)
        return loss, stats, weight

    def broken(self, speech, *args, utt_id=(), **kwargs):
        """A recording of no numbers, which batch norms see before any loss is known."""
        if self.training and only in utt_id:
            speech = speech * float("nan")
        return forward(self, speech, *args, **kwargs)

    monkeypatch.setattr(ESPnetASRModel, "forward", changed if change else broken)
    return spoilt


def changes_of_loss() -> dict[str, Optional[Change]]:
    return {
        "input": None,
        "nan": lambda loss: loss * float("nan"),
        "infinite": lambda loss: loss + float("inf"),  # its gradient is finite
        "gradient": lambda loss: loss + 0 * (loss - loss.detach()).sqrt(),
    }


@pytest.mark.parametrize("change", ["input", "infinite", "gradient"])
@pytest.mark.parametrize("accum_grad", [1, 2])
@pytest.mark.parametrize("arch_data", ["train", "joint"])
def test_a_spoilt_batch_is_skipped_and_counted(
    corpus, tmp_path, monkeypatch, caplog, change, accum_grad, arch_data
):
    spoil(monkeypatch, changes_of_loss()[change])
    options = {"accum_grad": accum_grad, "arch_data": arch_data, "warmup_epochs": 0}
    state = search(corpus, tmp_path / "exp", **options)
    assert all(torch.isfinite(v).all() for v in state["model"].values())
    logits = [v for k, v in state["model"].items() if k.endswith("logits")]
    assert all(v.abs().sum() > 0 for v in logits)
    # The utterance is in one of the two splits: that stream has a skip in each epoch,
    # or in each pass over its data.
    counted = re.findall(r"(\d+) of (\d+) (\w+) steps of epoch (\d)", caplog.text)
    assert len(counted) >= 3
    assert len({kind for *_, kind, _ in counted}) == 1
    assert all(1 <= int(skipped) < int(steps) for skipped, steps, *_ in counted)


@pytest.mark.parametrize("arch_data", ["train", "joint"])
def test_too_many_in_a_row_end_the_search(corpus, tmp_path, monkeypatch, arch_data):
    """Also over the end of an epoch; the sentence names the last batch."""
    spoilt = spoil(monkeypatch, changes_of_loss()["nan"], only=None)
    with pytest.raises(SystemExit) as end:
        search(
            corpus,
            tmp_path / "exp",
            arch_data=arch_data,
            warmup_epochs=0,
            max_skipped_steps=3,
        )
    message = str(end.value)
    assert "3 " in message and "steps in a row were skipped" in message
    batch = max(spoilt, key=lambda b: all(u in message for u in b))
    assert all(u in message for u in batch)
    assert "--max_skipped_steps" in message
    assert "\n" not in message


def test_skips_in_a_row_are_counted_over_epochs():
    """Each kind by itself, and from nothing in another search."""
    model, one = make(max_skipped_steps=4)
    for made in (False, False, True, False, False):
        one._count("weight", made, ["a"])
    assert (one.steps["weight"], one.skipped["weight"]) == (5, 4)
    two = Epoch(one.run, model, one.batches, reporter(), None)
    two._count("weight", False, ["a"])
    two._count("architecture", True, ["a"])
    many = [f"u{i}" for i in range(10)]
    with pytest.raises(TrainingError, match=r"u0, .*, u7 and 2 more\. "):
        two._count("weight", False, many)
    _, other = make(max_skipped_steps=4)
    other._count("weight", False, many)


def test_finite_losses_are_not_changed():
    """Bit for bit, and neither are their gradients."""
    weight = torch.nn.Parameter(torch.randn(3))

    class Model(torch.nn.Module):
        def forward(self, x):
            return {"loss": (x * weight).square().sum(), "stats": {}, "weight": 1}

    model, x = Model(), torch.randn(3)
    plain = model(x)["loss"]
    model.register_forward_hook(nan_gradients)
    guarded = model(x)["loss"]
    assert torch.equal(plain, guarded)
    gradients = [torch.autograd.grad(loss, weight)[0] for loss in (plain, guarded)]
    assert torch.equal(*gradients)


def amp_on_cpu(monkeypatch, dtype: torch.dtype, scale: float) -> None:
    """Let ESPnet's mixed precision, which is for GPUs, work on the CPU."""

    class Scaler(trainer.GradScaler):
        def __init__(self):
            torch.amp.GradScaler.__init__(self, "cpu", init_scale=scale)

    init = torch.autocast.__init__

    def on_cpu(self, device_type, *args, **kwargs):
        init(self, "cpu", **{**kwargs, "dtype": dtype})

    monkeypatch.setattr(trainer, "GradScaler", Scaler)
    monkeypatch.setattr(torch.autocast, "__init__", on_cpu)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("accum_grad", [1, 2])
@pytest.mark.parametrize("arch_data", ["train", "joint"])
def test_mixed_precision_has_the_gradients_of_full_precision(
    corpus, tmp_path, monkeypatch, dtype, accum_grad, arch_data
):
    """With weights that stay and logits that hardly move: they sum up gradients."""
    options = {
        "accum_grad": accum_grad,
        "arch_data": arch_data,
        "warmup_epochs": 0,
        # Each precision draws in its own way.
        "encoder_conf": {
            "width": 16,
            "dropout_rate": 0.0,
            "layers": ["tdnn-C1S3D1", "tdnn-C1D1", ["tdnn-C1D1", "tdnn-C2D2"]],
        },
        "specaug": None,
        "grad_clip": 100.0,
        "optim": "sgd",
        "optim_conf": {"lr": 0.0},
        "optim2": "sgd",
        "optim2_conf": {"lr": 1e-3},
    }
    full = search(corpus, tmp_path / "full", **options)
    amp_on_cpu(monkeypatch, dtype, scale=2.0**10)
    mixed = search(corpus, tmp_path / "mixed", use_amp=True, **options)
    logits = [
        torch.cat([v for k, v in state["model"].items() if k.endswith("logits")])
        for state in (full, mixed)
    ]
    difference = (logits[1] - logits[0]).norm() / logits[0].norm()
    assert 0 < difference < 10 * torch.finfo(dtype).eps
    assert mixed["scaler"]["scale"] == 2.0**10


@pytest.mark.parametrize("arch_data", ["train", "joint"])
def test_loss_scale_finds_its_way_down(
    corpus, tmp_path, monkeypatch, caplog, arch_data
):
    """Far too large a scale: some steps overflow, and the search goes on."""
    amp_on_cpu(monkeypatch, torch.float16, scale=2.0**17)
    state = search(
        corpus,
        tmp_path / "exp",
        use_amp=True,
        arch_data=arch_data,
        batch_size=2,
        warmup_epochs=0,
        max_epoch=6,
    )
    assert state["scaler"]["scale"] < 2.0**17
    assert "weight steps of epoch 1 were skipped" in caplog.text
    assert "steps of epoch 6 were skipped" not in caplog.text
    logits = [v for k, v in state["model"].items() if k.endswith("logits")]
    assert all(v.abs().sum() > 0 and v.isfinite().all() for v in logits)
