"""Toy supernets and helpers of the proofs: everything enumerable, in float64."""

from __future__ import annotations

import itertools
import math

import torch

from espnet_stnas.estimators import build_estimator
from espnet_stnas.estimators.base import Gate
from espnet_stnas.estimators.subgraph import systematic
from espnet_stnas.ops.norm import frozen_statistics
from tests.conftest import tiny_space

CANDIDATES = ["tdnn-C1D1", "tdnn-C1D2Nbn", "identity", "zero", "tdnn-C2D2"]
# Every operation that can be a candidate, in chains, with and without skips.
SPACES = {
    "chain": tiny_space("tdnn-C1", CANDIDATES, "tdnn-S2", CANDIDATES[:2], "tdnn-C0"),
    "residual": tiny_space("tdnn-C1", CANDIDATES, CANDIDATES[1:4], residual=True),
    "adjacent": tiny_space(
        ["tdnn-C1", "tdnn-C2"], CANDIDATES[:3], ["tdnn", "identity"]
    ),
    "strided": tiny_space(["tdnn-C1S2", "tdnn-C2S2D2Nbn"], CANDIDATES[:3]),
    "deltas": tiny_space(["deltas-O1", "tdnn-C1W6"], ["tdnn", "tdnn-C2"]),
}


def loss_of(ys: torch.Tensor) -> torch.Tensor:
    """Some smooth loss that is far from affine and does not ignore frames."""
    weights = torch.arange(1, 1 + ys[0].numel(), dtype=ys.dtype).reshape(ys[0].shape)
    return (torch.tanh(ys) * weights.cos()).sum() + 0.1 * ys.square().sum()


def cpu_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def path_gates(estimator, all_logits, path):
    """The gates of a path with all candidates scored."""
    return [
        estimator.gate(logits, k) for logits, k in zip(all_logits, path, strict=True)
    ]


def gates_of(name: str, supernet, path, conf=None):
    """Gates of any estimator; those that sample a path sample this one."""
    estimator = build_estimator(name, conf)

    def gate(logits: torch.Tensor, k: int) -> Gate:
        for seed in itertools.count():
            found = estimator.architecture_gate(logits, cpu_generator(seed))
            if len(found.active) > 1 or found.active == (k,):
                return found
        raise AssertionError

    # One choice after the other: all at once would take as many draws as paths.
    return [gate(a, k) for a, k in zip(supernet.logits, path, strict=True)]


def logit_gradients(supernet, gates, inputs, loss=loss_of):
    """Gradients of the logits in an architecture step."""
    with supernet.routed(gates), frozen_statistics(supernet):
        ys, _ = supernet(*inputs)
        return torch.autograd.grad(loss(ys), supernet.logits, allow_unused=True)


def jacobian(p: torch.Tensor) -> torch.Tensor:
    """J(p) = diag(p) - p p^T, that of the softmax whose value is p."""
    return torch.diag(p) - torch.outer(p, p)


def draws_of(chances: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The probability of every set of candidates that `draw_others` can draw.

    By enumeration of all orders, and of the intervals of the offset between which
    nothing changes.
    """
    result: dict[tuple[int, ...], float] = {}
    candidates = [k for k in range(len(chances)) if chances[k] > 0]
    orders = list(itertools.permutations(candidates))
    for order in orders:
        ends = itertools.accumulate(float(chances[k]) for k in order)
        edges = sorted({0.0, 1.0, *(e % 1.0 for e in ends)})
        for left, right in itertools.pairwise(edges):
            drawn = tuple(sorted(systematic(chances, order, (left + right) / 2)))
            share = (right - left) / len(orders)
            result[drawn] = result.get(drawn, 0.0) + share
    assert math.isclose(sum(result.values()), 1.0)
    return result
