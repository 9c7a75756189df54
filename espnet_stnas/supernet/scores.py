"""Scores of candidates: the gradient of the loss by the mixing coefficients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch

from espnet_stnas.estimators.base import Gate, Scoring
from espnet_stnas.ops import Operation
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.ops.taps import TapProducts

# Decay of the running mean of score differences per step: about 20 steps count.
OFFSET_RATE = 0.05

# (x, y, dLoss/dy) -> dLoss/dc (K,)
ScoreFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class ScoredPath(torch.autograd.Function):
    """Returns the sampled output and scores candidates in the backward pass.

    The output and its gradient equal those of a network with this single path; only
    the coefficients get an additional gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        ys: torch.Tensor,
        coefficients: torch.Tensor,
        xs_pad: torch.Tensor,
        score: ScoreFunction,
    ) -> torch.Tensor:
        """Return ``ys`` as it is.

        Args:
            ctx: Context of the autograd function.
            ys: Output (B, T', D') of the sampled candidate, zero where padded.
            coefficients: Mixing coefficients c (K,); their gradient is the scores.
            xs_pad: Input (B, T, D) of all candidates.
            score: Computes the scores (K,) in the backward pass, given dLoss/dy.
        """
        device = ys.device.type
        ctx.autocast = (
            device,
            torch.get_autocast_dtype(device),
            torch.is_autocast_enabled(device),
        )
        ctx.score = score
        ctx.save_for_backward(xs_pad, ys)
        return ys.view_as(ys)

    @staticmethod
    def backward(
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, Optional[torch.Tensor], None, None]:
        """Return dLoss/dy (B, T', D') and the scores dLoss/dc_k (K,)."""
        xs_pad, ys = ctx.saved_tensors
        scores = None
        if ctx.needs_input_grad[1]:
            with torch.no_grad(), torch.autocast(*ctx.autocast):
                scores = ctx.score(xs_pad, ys, gradient)
        return gradient, scores, None, None


def candidate_scores(
    operations: Sequence[Operation],
    gate: Gate,
    offset: torch.Tensor,
    ilens: torch.Tensor,
    olens: torch.Tensor,
    xs_pad: torch.Tensor,
    ys: torch.Tensor,
    gradient: torch.Tensor,
) -> torch.Tensor:
    """Return the scores s_k = <dLoss/dy, o_k(x)> (K,) that the gate asks for.

    The outputs of the other candidates are computed, used and freed one by one, without
    a graph, once dLoss/dy is known. So memory does not grow with K. The output of the
    sampled candidate is already there.

    Args:
        operations: The K candidates.
        gate: Selects the candidates to score.
        offset: Running mean (2,) of scores for :func:`estimated_scores`.
        ilens: Valid frames (B,) of the input.
        olens: Valid frames (B,) of the output.
        xs_pad: Input frames (B, T, D).
        ys: Output frames (B, T', D') of the sampled candidate, zero where padded.
        gradient: dLoss/dy (B, T', D').
    """
    assert gate.coefficients is not None
    scoring = gate.scoring
    scale = 1.0
    if scoring.share < 1.0:
        rows = scored_rows(scoring, len(ilens)).to(ilens.device)
        scale = len(ilens) / len(rows)
        ilens, olens, xs_pad = ilens[rows], olens[rows], xs_pad[rows]
        ys, gradient = ys[rows], gradient[rows]
    sampled = inner_product(gradient, ys)
    others = _other_scores(operations, gate, ilens, olens, xs_pad, gradient)
    if gate.inverse_chances is None:
        scores = torch.zeros_like(gate.coefficients)
        scores[list(gate.scored)] = others.to(scores.dtype)
    else:
        scores = estimated_scores(gate, sampled, others, offset)
    scores[gate.active[0]] = sampled
    return scores * scale


def _other_scores(
    operations: Sequence[Operation],
    gate: Gate,
    ilens: torch.Tensor,
    olens: torch.Tensor,
    xs_pad: torch.Tensor,
    gradient: torch.Tensor,
) -> torch.Tensor:
    """Return the scores (n,) of the candidates that were not sampled."""
    packed = None
    if gate.scored and all(operations[k].frame_local for k in gate.scored):
        reach = int(max(r for k in gate.scored for r in operations[k].reach))
        packed = _without_padding(ilens, xs_pad, gradient, reach)
    if packed is not None:
        ilens, xs_pad, gradient = packed
    else:
        # The next layer reads padding frames, too, where candidates hold anything.
        gradient = zero_padding(gradient, olens)
    device, wanted = xs_pad.device.type, gate.scoring.dtype
    enabled = wanted is not None or torch.is_autocast_enabled(device)
    dtype = wanted or torch.get_autocast_dtype(device)
    if wanted is not None:
        xs_pad = xs_pad.to(wanted)
    scores = [gradient.new_zeros(0)]
    scored = [operations[k] for k in gate.scored]
    with torch.autocast(device, dtype, enabled):
        products = _common_products(scored, xs_pad)
    for operation in scored:
        with torch.autocast(device, dtype, enabled):
            output = expected_output(operation, xs_pad, ilens, products.get(operation))
        scores.append(inner_product(gradient, output).reshape(1))
    return torch.cat(scores)


def _common_products(
    operations: Sequence[Operation], xs_pad: torch.Tensor
) -> dict[Operation, TapProducts]:
    """Return, for each operation, what it computes in common with others, if it does.

    This pays from the second operation with the same shared weights on.
    """
    groups: dict[torch.nn.Module, list[Operation]] = {}
    for operation in operations:
        if operation.borrowing is not None:
            groups.setdefault(operation.borrowing.shared, []).append(operation)
    found: dict[Operation, TapProducts] = {}
    for members in groups.values():
        products = members[0].shared_products(xs_pad) if len(members) > 1 else None
        if products is not None:
            found.update(dict.fromkeys(members, products))
    return found


def _without_padding(
    ilens: torch.Tensor, xs_pad: torch.Tensor, gradient: torch.Tensor, gap: int
) -> Optional[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Return the batch as one long utterance, or None if that is not shorter.

    Outputs at the borders between utterances are wrong, but the gradient is zero there.
    This is not done on a GPU, since the lengths would have to be copied to the CPU.
    """
    if ilens.device.type != "cpu":
        return None
    lengths = ilens.tolist()
    frames = sum(lengths) + gap * (len(lengths) - 1)
    if frames >= xs_pad.size(0) * xs_pad.size(1):
        return None
    one, other = (joined(frames_of, lengths, gap) for frames_of in (xs_pad, gradient))
    return torch.tensor([frames]), one, other


def joined(xs_pad: torch.Tensor, lengths: list[int], gap: int) -> torch.Tensor:
    """Concatenate the utterances of a batch, with a gap of zeros between them.

    Args:
        xs_pad: Frames (B, T, D).
        lengths: Valid frames of each of the B utterances.
        gap: Number of zero frames between two utterances.

    Returns:
        Frames (1, sum of lengths + (B - 1) gap, D).
    """
    frames = xs_pad.new_zeros(sum(lengths) + gap * (len(lengths) - 1), xs_pad.size(2))
    start = 0
    for utterance, length in zip(xs_pad, lengths, strict=True):
        frames[start : start + length] = utterance[:length]
        start += length + gap
    return frames.unsqueeze(0)


def expected_output(
    operation: Operation,
    xs_pad: torch.Tensor,
    ilens: torch.Tensor,
    products: Optional[TapProducts] = None,
) -> torch.Tensor:
    """Return the expected output frames (B, T', D') with respect to dropout.

    This output has the mean of an output with dropout without its variance, and it
    draws no random numbers. Batch norm normalises as in training, but does not update
    its running statistics.

    Args:
        operation: The operation to run.
        xs_pad: Input frames (B, T, D), zero where padded.
        ilens: Valid input frames (B,).
        products: Its :meth:`~espnet_stnas.ops.Operation.shared_products`, if they were
            computed.
    """
    dropouts = [
        module
        for module in operation.modules()
        if isinstance(module, torch.nn.Dropout) and module.training
    ]
    for dropout in dropouts:
        dropout.training = False
    try:
        with frozen_statistics(operation):
            common = () if products is None else (products,)
            return operation(xs_pad, ilens, *common)[0]
    finally:
        for dropout in dropouts:
            dropout.training = True


def estimated_scores(
    gate: Gate, sampled: torch.Tensor, others: torch.Tensor, offset: torch.Tensor
) -> torch.Tensor:
    """Estimate the scores (K,) of all candidates from a few of them, without bias.

    The estimate is e + 1[k drawn] (s_k - e) / chance_k, with e = s_sampled + b. Its
    expectation is s_k for any b that does not depend on the draw. The variance is
    smallest if b is the expected value of s_k - s_sampled. That difference is similar
    for all other candidates (only the sampled one had dropout, and the gradient is
    taken at its output), so b is the mean difference over past draws.

    Args:
        gate: The drawn candidates, with their inverse chances.
        sampled: Score () of the sampled candidate.
        others: Scores (n,) of the drawn candidates.
        offset: Decaying sum and weight (2,) of past s_k - s_sampled; updated in place.
    """
    assert gate.coefficients is not None and gate.inverse_chances is not None
    mean = offset[0] / offset[1].clamp(min=torch.finfo(offset.dtype).tiny)
    baseline = (sampled + mean).to(gate.coefficients.dtype)
    scores = baseline.expand(len(gate.coefficients)).clone()
    index = torch.tensor(gate.scored, device=scores.device)
    inverse = torch.tensor(
        gate.inverse_chances, device=scores.device, dtype=scores.dtype
    )
    scores[index] += inverse * (others - baseline)
    observed = torch.stack([(others - sampled).mean(), torch.ones_like(sampled)])
    updated = offset + OFFSET_RATE * (observed.to(offset.dtype) - offset)
    # An overflow in one step must not change later steps.
    offset.copy_(torch.where(torch.isfinite(updated).all(), updated, offset))
    return scores


def scored_rows(scoring: Scoring, count: int) -> torch.Tensor:
    """Draw the utterances to score, of ``count``: row indices (n,) on the CPU."""
    generator = torch.Generator().manual_seed(scoring.seed)
    order = torch.randperm(count, generator=generator)
    return order[: max(1, round(scoring.share * count))].sort().values


def inner_product(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the inner product () over all elements of two tensors of the same shape.

    The sum is accumulated in at least float32.
    """
    dtype = torch.promote_types(one.dtype, torch.float32)
    with torch.autocast(one.device.type, enabled=False):
        return torch.dot(one.to(dtype).reshape(-1), other.to(dtype).reshape(-1))
