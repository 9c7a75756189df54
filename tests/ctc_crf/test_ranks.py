"""CTC-CRF in several processes: the gradient is the mean of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.ctc_crf.test_model import batch, build
from tests.search.test_traffic import join, run_ranks

TEXTS = (((1, 1, 2), (3,)), ((2,), (1, 2, 3)))


def gradients(model: torch.nn.Module, rank: int) -> dict[str, torch.Tensor]:
    loss, _, _ = model(**batch(TEXTS[rank]))
    loss.sum().backward()
    return {n.removeprefix("module."): p.grad for n, p in model.named_parameters()}


def step(rank: int, store: str, out: Path) -> None:
    join(rank, store)
    model = torch.nn.parallel.DistributedDataParallel(build())
    torch.save(gradients(model, rank), out)


@pytest.mark.slow
def test_gradients_of_two_ranks(tmp_path, monkeypatch):
    monkeypatch.setitem(run_ranks.__globals__, "__name__", __name__)
    found = run_ranks(tmp_path, "step")
    alone = [gradients(build(), rank) for rank in range(2)]
    for name in alone[0]:
        mean = (alone[0][name] + alone[1][name]) / 2
        for state in found:
            torch.testing.assert_close(state[name], mean, rtol=0, atol=1e-12)
