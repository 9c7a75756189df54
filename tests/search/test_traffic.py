"""What ranks send each other in weight steps."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch

from benchmarks.processes import finish, start
from espnet_stnas.search import traffic
from espnet_stnas.search.ranks import (
    mean_over_ranks,
    stop_together,
    union_over_ranks,
    weighted_loss,
)
from espnet_stnas.search.traffic import path_traffic
from espnet_stnas.supernet.supernet import build_supernet
from tests.conftest import tiny_space

CHOICE = ["tdnn-C1D1", "tdnn-C1D2", "tdnn-C1D3", "tdnn-C1D4"]


def join(rank: int, store: str, ranks: int = 2) -> None:
    """Join a group, for as long as this process lives, as ESPnet's trainings do.

    Leaving it while DDP holds it can hang: the group then ends with the model, which
    waits for the group's threads under Python's lock, and a thread needs that lock to
    drop the future of a hook.
    """
    torch.distributed.init_process_group(
        "gloo", f"file://{store}", world_size=ranks, rank=rank
    )


def run_ranks(tmp_path: Path, function: str, *arguments: object) -> list:
    """Call a function of this file in two processes: what each has saved."""
    store = f"{tempfile.mkdtemp(dir=tmp_path)}/store"
    outs = [tmp_path / f"{function}{rank}.pth" for rank in range(2)]
    logs = [out.with_suffix(".log") for out in outs]
    processes = [
        start(f"{__name__}:{function}", log, rank, store, out, *arguments)
        for rank, (out, log) in enumerate(zip(outs, logs, strict=True))
    ]
    try:
        for process, log in zip(processes, logs, strict=True):
            finish(process, log)
    finally:
        for process in processes:
            process.kill()
    return [torch.load(out, weights_only=True) for out in outs]


def weight_steps(rank: int, store: str, out: Path, hook: bool, layers: list) -> None:
    """Two accumulated weight steps: gradients, and how much was sent in each."""
    from espnet_stnas.estimators import Gate

    join(rank, store)
    torch.manual_seed(0)
    supernet = build_supernet(tiny_space(*layers), 3).double().train()
    model = torch.nn.parallel.DistributedDataParallel(
        supernet, find_unused_parameters=True
    )
    sent = []
    all_reduce = torch.distributed.all_reduce

    def counting(message, *args, **kwargs):
        sent[-1] += message.numel()
        return all_reduce(message, *args, **kwargs)

    traffic.torch.distributed.all_reduce = counting
    reducing = path_traffic(model, supernet) if hook else None
    torch.manual_seed(rank)
    # Paths of rank 0 and rank 1, in each step.
    for paths in (((0, 1), (0, 1)), ((2, 1), (3, 1))):
        gates = tuple(Gate((k,)) for k in paths[rank])
        if reducing is not None:
            reducing.paths = tuple(map(frozenset, zip(*paths, strict=True)))
        sent.append(0)
        inputs = torch.randn(2, 9, 3, dtype=torch.double), torch.tensor([9, 7])
        with supernet.routed(gates):
            model(*inputs)[0].square().sum().backward()
    gradients = {n: p.grad for n, p in supernet.named_parameters()}
    torch.save({"gradients": gradients, "sent": sent}, out)


@pytest.mark.slow
def test_gradients_are_those_of_ddp_and_nothing_else_is_sent(tmp_path):
    """Also where ranks run different candidates, and over an accumulation."""
    layers = ["tdnn-C1D1", CHOICE, CHOICE[:2]]
    plain = run_ranks(tmp_path, "weight_steps", False, layers)
    ours = run_ranks(tmp_path, "weight_steps", True, layers)
    for name, gradient in plain[0]["gradients"].items():
        for state in ours:
            found = state["gradients"][name]
            if gradient is None:
                assert found is None, name
            else:
                torch.testing.assert_close(found, gradient, rtol=1e-12, atol=1e-12)
    used = {
        name.split(".")[2]
        for name, gradient in ours[0]["gradients"].items()
        if name.startswith("layers.1.") and gradient is not None
    }
    assert used == {"tdnn-C1D1", "tdnn-C1D3", "tdnn-C1D4"}
    supernet = build_supernet(tiny_space(*layers), 3)
    fixed, wide, narrow = (
        sum(p.numel() for p in supernet.layers[i].operations[0].parameters())
        for i in range(3)
    )
    # Both ranks ran one candidate of the first choice, then two; and one of the other.
    sizes = [fixed + wide + narrow, fixed + 2 * wide + narrow]
    assert [state["sent"] for state in ours] == [sizes, sizes]


@pytest.mark.slow
def test_traffic_does_not_grow_with_the_candidates(tmp_path):
    sent = []
    for k in (4, 16):
        choice = [f"tdnn-C1D{d}" for d in range(1, k + 1)]
        layers = ["tdnn-C1D1", choice, CHOICE[:2]]
        sent.append(run_ranks(tmp_path, "weight_steps", True, layers)[0]["sent"])
    assert sent[0] == sent[1]


def exchanges(rank: int, store: str, out: Path) -> None:
    join(rank, store)
    sets = ([frozenset({0}), frozenset()], [frozenset({2}), frozenset({1})])[rank]
    union = union_over_ranks(sets, [3, 2], "cpu")
    tensors = [torch.full((2,), float(rank)), torch.tensor(10.0 * rank)]
    means = mean_over_ranks(tensors)
    # Three utterances of loss 2 and one of loss 6.
    loss, total = weighted_loss(
        torch.tensor([2.0, 6.0][rank]), torch.tensor([3, 1][rank])
    )
    means.append(mean_over_ranks([loss])[0])
    items = list(stop_together(range(4 - rank), "cpu"))
    result = {"union": [sorted(s) for s in union], "means": means, "total": total}
    torch.save({**result, "items": items}, out)


@pytest.mark.slow
def test_what_ranks_tell_each_other(tmp_path):
    for state in run_ranks(tmp_path, "exchanges"):
        assert state["union"] == [[0, 2], [1]]
        assert torch.equal(state["means"][0], torch.tensor([0.5, 0.5]))
        assert torch.equal(state["means"][1], torch.tensor(5.0))
        assert state["means"][2] == 3.0
        assert state["total"] == 4
        assert state["items"] == [0, 1, 2]
