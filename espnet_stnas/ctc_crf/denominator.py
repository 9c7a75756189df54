"""log Z of CTC-CRF: the sum over all label sequences and all of their CTC paths.

The forward-backward recursions over the graph of :mod:`espnet_stnas.ctc_crf.graph`, in
probabilities that are scaled in every frame, in float64. So a path counts as impossible
in a frame if its probability is 1e300 times smaller than that of all others; log Z
itself has no limit. The gradient is closed form, the expected counts of symbols, and is
computed together with the value: autograd keeps it (B, T, V) and nothing else.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from espnet_stnas.ctc_crf.graph import DenominatorGraph
from espnet_stnas.ctc_crf.sparse import SparseArray, SparseMatrix

# Memory for the forward probabilities of all frames; beyond it, only those of every
# sqrt(T)-th frame are kept, and the others are computed a second time.
MEMORY = 1 << 29


class Forward(NamedTuple):
    """Forward (or backward) probabilities of a frame, up to a factor per utterance.

    Args:
        label: Of the states in which a label was just emitted (S, B).
        blank: Of those in which a blank was emitted after it (S, B).
    """

    label: torch.Tensor
    blank: torch.Tensor


class Workspace(NamedTuple):
    """Memory that is used again in every frame.

    Args:
        sources: What transitions start from: A, K and flows (2S + F, B).
        states: A value per state (S, B).
    """

    sources: torch.Tensor
    states: torch.Tensor


class Denominator:
    """The recursions of a graph on a device.

    Args:
        graph: The label LM, composed with the CTC topology.
        device: Where to compute.
        memory: Bytes for forward probabilities.
    """

    def __init__(
        self, graph: DenominatorGraph, device: torch.device, memory: int = MEMORY
    ) -> None:
        def matrix(array: SparseArray) -> SparseMatrix:
            return SparseMatrix(array, device, torch.float64)

        shared = len(graph.flows.values) > 0

        self.states = graph.states
        self.sources = graph.arcs.shape[1]
        self.memory = memory
        self.last_label = torch.tensor(graph.last_label, device=device)
        impossible = torch.ones(graph.vocabulary, dtype=torch.bool)
        impossible[[0, *graph.last_label]] = False
        self.impossible = impossible.to(device)
        self.final = torch.tensor(graph.final, device=device)[:, None]
        self.flows = matrix(graph.flows) if shared else None
        self.flows_back = matrix(graph.flows.transposed) if shared else None
        self.arcs = matrix(graph.arcs)
        self.arcs_back = matrix(graph.arcs.transposed)
        self.per_label = matrix(
            SparseArray.of(
                {(int(k), s): 1.0 for s, k in enumerate(graph.last_label)},
                (graph.vocabulary, graph.states),
            )
        )

    def __call__(self, log_probs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Sum over all paths.

        Args:
            log_probs: Log-probabilities of symbols, the blank first (B, T, V).
            lengths: Valid frames (B,).

        Returns:
            log Z (B,), float64; -inf where no path is possible.
        """
        return _LogZ.apply(log_probs, lengths, self)

    def workspace(self, batch: int) -> Workspace:
        """Memory for the steps below, which would else be asked for in every frame."""
        sources = self.final.new_empty(self.sources, batch)
        return Workspace(sources, self.final.new_empty(self.states, batch))

    def first(self, batch: int) -> Forward:
        """Before the first frame: the first state of the LM, and no label."""
        label = self.final.new_zeros(self.states, batch)
        blank = torch.zeros_like(label)
        blank[0] = 1.0
        return Forward(label, blank)

    def last(self, batch: int) -> Forward:
        """Backward probabilities of the last frame: those of the end."""
        return Forward(*(self.final.repeat(1, batch) for _ in range(2)))

    def forward_step(
        self, alpha: Forward, probs: torch.Tensor, out: Forward, work: Workspace
    ) -> None:
        """Go one frame on.

        Args:
            alpha: Forward probabilities of the frame before.
            probs: Of symbols in this frame (V, B).
            out: Where to write those of this frame; may be ``alpha``.
            work: Memory to use.
        """
        size = self.states
        total = torch.add(alpha.label, alpha.blank, out=work.sources[:size])
        work.sources[size : 2 * size] = alpha.blank
        if self.flows is not None:
            self.flows.multiply(work.sources[: 2 * size], work.sources[2 * size :])
        out.label.copy_(alpha.label)
        self.arcs.multiply(work.sources, out.label, add=True)
        # What is taken off again may leave a rounding error below 0.
        out.label.clamp_(min=0.0)
        out.label.mul_(self._of_states(probs, work))
        torch.mul(total, probs[0], out=out.blank)

    def _of_states(self, probs: torch.Tensor, work: Workspace) -> torch.Tensor:
        """Probabilities (V, B) of the last labels of states (S, B)."""
        return torch.index_select(probs, 0, self.last_label, out=work.states)

    def backward_step(
        self, beta: Forward, probs: torch.Tensor, work: Workspace
    ) -> None:
        """Go one frame back, in place: the transpose of :meth:`forward_step`.

        Args:
            beta: Backward probabilities of the frame; those of the frame before.
            probs: Of symbols in the frame (V, B).
            work: Memory to use.
        """
        size = self.states
        label = beta.label.mul_(self._of_states(probs, work))
        blank = beta.blank.mul_(probs[0])
        self.arcs_back.multiply(label, work.sources)
        if self.flows_back is not None:
            self.flows_back.multiply(
                work.sources[2 * size :], work.sources[: 2 * size], add=True
            )
        blank.add_(work.sources[:size])
        label.add_(blank).clamp_(min=0.0)
        blank.add_(work.sources[size : 2 * size]).clamp_(min=0.0)

    def count(
        self, alpha: Forward, beta: Forward, counts: torch.Tensor, work: Workspace
    ) -> None:
        """Expected count of each symbol in a frame.

        Args:
            alpha: Forward probabilities of the frame.
            beta: Backward probabilities of the frame.
            counts: Where to write them (V, B); 0 if nothing is possible.
            work: Memory to use.
        """
        both = torch.mul(alpha.label, beta.label, out=work.states)
        self.per_label.multiply(both, counts)
        # The first state has the blank as its last label, and emits none.
        counts[0] = torch.mul(alpha.blank, beta.blank, out=work.states).sum(0)
        total = counts.sum(0)
        counts.div_(torch.where(total > 0.0, total, 1.0))

    def chunk(self, frames: int, batch: int) -> int:
        """Frames whose forward probabilities are kept at a time."""
        if 16 * self.states * batch * frames <= self.memory:
            return max(frames, 1)
        return math.isqrt(frames - 1) + 1


def _scale(probabilities: Forward, log_scale: torch.Tensor) -> torch.Tensor:
    """The sum over states (B,), which is to divide the next frame's symbols."""
    total = probabilities.label.sum(0) + probabilities.blank.sum(0)
    total = torch.where(total > 0.0, total, 1.0)
    log_scale += total.log()
    return total


class _LogZ(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        log_probs: torch.Tensor,
        lengths: torch.Tensor,
        denominator: Denominator,
    ) -> torch.Tensor:
        symbols, log_scale = _symbols(log_probs, lengths, denominator.impossible)
        needs_grad = ctx.needs_input_grad[0]
        log_z, grad = _run(denominator, symbols, log_scale, needs_grad)
        if grad is not None:
            padding = _padding(lengths, log_probs.size(1))
            grad = grad.permute(2, 0, 1).masked_fill(padding[:, :, None], 0.0)
            ctx.save_for_backward(grad.to(log_probs.dtype))
        return log_z

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad_output: torch.Tensor
    ) -> tuple[torch.Tensor, None, None]:
        (grad,) = ctx.saved_tensors
        # Where nothing is possible, the gradient is 0 whatever comes in.
        incoming = torch.nan_to_num(grad_output).to(grad.dtype)
        return grad * incoming[:, None, None], None, None


def _padding(lengths: torch.Tensor, frames: int) -> torch.Tensor:
    """Which frames are padding (B, T)."""
    steps = torch.arange(frames, device=lengths.device)
    return steps >= lengths[:, None]


def _symbols(
    log_probs: torch.Tensor, lengths: torch.Tensor, impossible: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities that the recursions can take.

    In padding, the blank has probability 1 and all else 0, which leaves the sum over
    states, and with it Z, as it is.

    Args:
        log_probs: Log-probabilities (B, T, V).
        lengths: Valid frames (B,).
        impossible: Symbols that the label LM has no use for (V,).

    Returns:
        Probabilities, divided by the largest of each frame (T, V, B), and the sum of
        the logarithms of what they were divided by (B,).
    """
    log_probs = log_probs.detach().double().permute(1, 2, 0)
    # However probable, they must not hide the others.
    log_probs = log_probs.masked_fill(impossible[:, None], -math.inf)
    padding = _padding(lengths.to(log_probs.device), log_probs.size(0)).T
    largest = log_probs.amax(1)
    largest = torch.where(largest > -math.inf, largest, 0.0)
    symbols = (log_probs - largest[:, None]).exp()
    symbols = symbols.masked_fill(padding[:, None], 0.0)
    symbols[:, 0].masked_fill_(padding, 1.0)
    return symbols, largest.masked_fill(padding, 0.0).sum(0)


def _run(
    denominator: Denominator,
    symbols: torch.Tensor,
    log_scale: torch.Tensor,
    needs_grad: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Sum over paths, and count symbols.

    Args:
        denominator: The recursions.
        symbols: Probabilities of symbols (T, V, B).
        log_scale: What they were divided by, as a logarithm (B,).
        needs_grad: Whether to count symbols.

    Returns:
        log Z (B,), and expected counts (T, V, B) if asked for.
    """
    frames, _, batch = symbols.shape
    chunk = denominator.chunk(frames, batch) if needs_grad else 1
    work = denominator.workspace(batch)
    kept = symbols.new_empty(chunk, 2, denominator.states, batch)
    starts: list[Forward] = []
    alpha = denominator.first(batch)
    scale = torch.ones_like(log_scale)
    scales = []
    for t in range(frames):
        if needs_grad and t % chunk == 0:
            starts.append(Forward(alpha.label.clone(), alpha.blank.clone()))
        out = Forward(*kept[t % chunk])
        denominator.forward_step(alpha, symbols[t] / scale, out, work)
        alpha = out
        scales.append(scale)
        scale = _scale(alpha, log_scale)
    end = ((alpha.label + alpha.blank) * denominator.final).sum(0)
    log_z = log_scale + (end / scale).log()
    if not needs_grad:
        return log_z, None
    grad = torch.empty_like(symbols)
    beta = denominator.last(batch)
    for number in reversed(range(len(starts))):
        inside = range(number * chunk, min((number + 1) * chunk, frames))
        if number < len(starts) - 1:
            alpha = starts[number]
            for t in inside:
                out = Forward(*kept[t % chunk])
                denominator.forward_step(alpha, symbols[t] / scales[t], out, work)
                alpha = out
        for t in reversed(inside):
            denominator.count(Forward(*kept[t % chunk]), beta, grad[t], work)
            # Not those of the forward recursion, with which they could overflow. All
            # that is possible after a label is possible after a blank.
            total = beta.blank.sum(0)
            scale = torch.where(total > 0.0, total, 1.0)
            denominator.backward_step(beta, symbols[t] / scale, work)
    return log_z, grad
