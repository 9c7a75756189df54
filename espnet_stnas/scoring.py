"""Scores: the gradient of the loss with respect to mixing coefficients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch

from espnet_stnas.estimators.base import Gate, Scoring
from espnet_stnas.lengths import zero_padding
from espnet_stnas.ops import Operation

# (x, y, dLoss/dy) -> dLoss/dc (K,)
ScoreFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class ScoredPath(torch.autograd.Function):
    """Passes the sampled output on, and scores candidates in the backward.

    The output and its gradient are those of the plain single-path network; only the
    coefficients get an additional gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        ys: torch.Tensor,
        coefficients: torch.Tensor,
        xs_pad: torch.Tensor,
        olens: torch.Tensor,
        score: ScoreFunction,
    ) -> torch.Tensor:
        """Return ``ys`` (B, T, D) with its padding set to zero."""
        device = ys.device.type
        ctx.autocast = (
            device,
            torch.get_autocast_dtype(device),
            torch.is_autocast_enabled(device),
        )
        ctx.score = score
        ys = zero_padding(ys, olens)
        ctx.save_for_backward(xs_pad, ys, olens)
        return ys

    @staticmethod
    def backward(
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, Optional[torch.Tensor], None, None, None]:
        """Pass dLoss/dy on; dLoss/dc are the scores."""
        xs_pad, ys, olens = ctx.saved_tensors
        # The next layer reaches over into padding frames, where y is always zero.
        gradient = zero_padding(gradient, olens)
        scores = None
        if ctx.needs_input_grad[1]:
            with torch.no_grad(), torch.autocast(*ctx.autocast):
                scores = ctx.score(xs_pad, ys, gradient)
        return gradient, scores, None, None, None


def candidate_scores(
    operations: Sequence[Operation],
    gate: Gate,
    ilens: torch.Tensor,
    xs_pad: torch.Tensor,
    ys: torch.Tensor,
    gradient: torch.Tensor,
) -> torch.Tensor:
    """s_k = <dLoss/dy, o_k(x)> (K,), zero for candidates the gate leaves out.

    The other candidates' outputs are made, used and dropped one by one, without a
    graph, once dLoss/dy is known: memory does not grow with K. That of the sampled
    one is at hand.

    Args:
        operations: The candidates, K of them.
        gate: Which of them count, with coefficients.
        ilens: Valid frames (B,) of the input.
        xs_pad: Input frames (B, T, D).
        ys: Output frames (B, T', D') of the sampled candidate, zero where padded.
        gradient: dLoss/dy (B, T', D'), zero where padded.
    """
    assert gate.coefficients is not None
    scoring = gate.scoring
    scale = 1.0
    if scoring.share < 1.0:
        rows = utterances(scoring, len(ilens)).to(ilens.device)
        scale = len(ilens) / len(rows)
        ilens, xs_pad = ilens[rows], xs_pad[rows]
        ys, gradient = ys[rows], gradient[rows]
    scores = torch.zeros_like(gate.coefficients)
    scores[gate.active[0]] = inner_product(gradient, ys)
    device = xs_pad.device.type
    enabled = scoring.dtype is not None or torch.is_autocast_enabled(device)
    dtype = scoring.dtype or torch.get_autocast_dtype(device)
    if scoring.dtype is not None:
        xs_pad = xs_pad.to(scoring.dtype)
    for k in gate.scored:
        with torch.autocast(device, dtype, enabled):
            output = operations[k].expected(xs_pad, ilens)
        scores[k] = inner_product(gradient, output)
    return scores * scale


def utterances(scoring: Scoring, count: int) -> torch.Tensor:
    """The utterances of a batch that are scored: indices on the CPU."""
    generator = torch.Generator().manual_seed(scoring.seed)
    order = torch.randperm(count, generator=generator)
    return order[: max(1, round(scoring.share * count))].sort().values


def inner_product(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The inner product over all elements, accumulated in float32 at least."""
    dtype = torch.promote_types(one.dtype, torch.float32)
    with torch.autocast(one.device.type, enabled=False):
        return torch.dot(one.to(dtype).reshape(-1), other.to(dtype).reshape(-1))
