"""Weight steps of a plain PyTorch loop that are skipped."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from espnet_stnas.estimators import build_estimator
from espnet_stnas.ops import norm
from espnet_stnas.supernet.steps import weight_step
from tests.conftest import batch, double_network, tiny_space

SPACE = tiny_space(
    "tdnn-Nbn", ["tdnn-C1Nbn", "tdnn-C2Nbn"], "tdnn-Nbn", dropout_rate=0.5
)


@pytest.mark.parametrize("synchronised", [False, True])
@pytest.mark.parametrize("spoilt", ["input", "loss", "gradient"])
def test_a_skipped_step_changes_nothing(monkeypatch, spoilt, synchronised):
    """Neither weights, momenta nor statistics; random state as if it were made."""
    monkeypatch.setattr(norm, "all_reduce", lambda x: x)
    network = double_network(SPACE).train()
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.dim() > 0])
    generator, estimator = torch.Generator(), build_estimator("uniform")
    xs, ilens = batch((9, 5))
    bad = xs.clone()
    bad[0, 0, 0] = math.nan if spoilt == "input" else 0.0

    def step(frames: torch.Tensor, spoil: str = "") -> float:
        def loss() -> torch.Tensor:
            value = network(frames, ilens)[0].square().mean()
            if spoil == "gradient":  # of a finite loss
                return value + 0 * (value - value.detach()).sqrt()
            return value + (math.inf if spoil == "loss" else 0.0)

        return weight_step(network, loss, estimator, optimizer, generator)

    def state() -> dict:
        return copy.deepcopy({**network.state_dict(), **optimizer.state_dict()})

    def draws() -> tuple:
        return tuple(torch.get_rng_state().tolist()), generator.get_state().tolist()

    with norm.synchronised_statistics(network) if synchronised else torch.enable_grad():
        assert math.isfinite(step(xs))
        before, start = state(), (torch.get_rng_state(), generator.get_state())
        assert math.isnan(step(bad, spoilt))
        after, drawn = state(), draws()
        torch.testing.assert_close(after, before, rtol=0, atol=0)
        assert all(p.grad is None for p in network.parameters())
        torch.set_rng_state(start[0])
        generator.set_state(start[1])
        assert math.isfinite(step(xs))
        assert draws() == drawn
        keys = [k for k, v in network.state_dict().items() if (v != before[k]).any()]
        assert any("running_var" in key for key in keys)
