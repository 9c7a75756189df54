"""The recursions of CTC-CRF's log Z in float64, on probabilities that are scaled.

No state falls below a floor. So forward and backward recursion are upper bounds, also
of what is too small for float64. What the floor adds to Z is known: where one recursion
adds it, the other one tells how the paths go on from there. This bounds the error.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from espnet_stnas.ctc_crf.graph import DenominatorGraph
from espnet_stnas.ctc_crf.sparse import SparseArray, SparseMatrix

# Bytes for the forward probabilities of all frames. If they need more, only every
# sqrt(T)-th frame is kept, and the others are computed a second time.
MEMORY = 1 << 29
# The smallest probability of a state, when those of the frame before sum to 1. What
# underflows in a frame (1e-308, from up to 1e5 states), divided by the smallest scale,
# stays below it.
_FLOOR = 1e-250
_LEAST_SCALE = 1e-50


class StateProbs(NamedTuple):
    """Forward or backward probabilities of a frame, up to a factor per utterance.

    Args:
        label: Probabilities of the states that just emitted their label (S, B).
        blank: Probabilities of the states that emitted a blank after it (S, B).
    """

    label: torch.Tensor
    blank: torch.Tensor


class Workspace(NamedTuple):
    """Memory that is used again in every frame.

    Args:
        sources: Where transitions start: A, K and flows (2S + F, B).
        states: One value for each state (S, B).
    """

    sources: torch.Tensor
    states: torch.Tensor


class ScaledDenominator:
    """The recursions on probabilities.

    Args:
        graph: The label LM, composed with the CTC topology.
        device: Where to compute.
        memory: Bytes for the forward probabilities of all frames.
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
        final = torch.tensor(graph.final, device=device)[:, None]
        self.final = final.clamp(min=_FLOOR)
        self.flows = matrix(graph.flows) if shared else None
        self.flows_back = matrix(graph.flows.transposed) if shared else None
        self.arcs = matrix(graph.arcs)
        self.arcs_back = matrix(graph.arcs.transposed)
        self.per_label = matrix(
            SparseArray.from_entries(
                {(int(k), s): 1.0 for s, k in enumerate(graph.last_label)},
                (graph.vocabulary, graph.states),
            )
        )

    def workspace(self, batch: int) -> Workspace:
        """Allocate memory for the steps below, once for all frames."""
        sources = self.final.new_empty(self.sources, batch)
        return Workspace(sources, self.final.new_empty(self.states, batch))

    def first(self, batch: int) -> StateProbs:
        """Start before the first frame: in the first state of the LM, with no label."""
        label = self.final.new_zeros(self.states, batch)
        blank = torch.zeros_like(label)
        blank[0] = 1.0
        return StateProbs(label, blank)

    def last(self, batch: int) -> StateProbs:
        """Start after the last frame: backward, with the end of the sentence."""
        return StateProbs(*(self.final.repeat(1, batch) for _ in range(2)))

    def forward_step(
        self, alpha: StateProbs, probs: torch.Tensor, out: StateProbs, work: Workspace
    ) -> None:
        """Go one frame on.

        Args:
            alpha: Forward probabilities of the frame before.
            probs: Probabilities of symbols in this frame (V, B).
            out: The forward probabilities of this frame are written here; may be
                ``alpha``.
            work: Memory to use.
        """
        size = self.states
        total = torch.add(alpha.label, alpha.blank, out=work.sources[:size])
        work.sources[size : 2 * size] = alpha.blank
        if self.flows is not None:
            self.flows.multiply(work.sources[: 2 * size], work.sources[2 * size :])
        out.label.copy_(alpha.label)
        self.arcs.multiply(work.sources, out.label, add=True)
        out.label.mul_(self._of_states(probs, work)).clamp_(min=_FLOOR)
        torch.mul(total, probs[0], out=out.blank).clamp_(min=_FLOOR)

    def _of_states(self, probs: torch.Tensor, work: Workspace) -> torch.Tensor:
        """Look up the probability of each state's last label: (V, B) to (S, B)."""
        return torch.index_select(probs, 0, self.last_label, out=work.states)

    def backward_step(
        self, beta: StateProbs, probs: torch.Tensor, work: Workspace
    ) -> None:
        """Go one frame back, in place: the transpose of :meth:`forward_step`.

        Args:
            beta: Backward probabilities of the frame, which become the backward
                probabilities of the frame before.
            probs: Probabilities of symbols in the frame (V, B).
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
        label.add_(blank).clamp_(min=_FLOOR)
        blank.add_(work.sources[size : 2 * size]).clamp_(min=_FLOOR)

    def count(
        self, alpha: StateProbs, beta: StateProbs, counts: torch.Tensor, work: Workspace
    ) -> torch.Tensor:
        """Compute the expected count of each symbol in a frame.

        Args:
            alpha: Forward probabilities of the frame.
            beta: Backward probabilities of the frame.
            counts: The counts are written here (V, B).
            work: Memory to use.

        Returns:
            What the counts were divided by: the product of both arguments (B,).
        """
        both = torch.mul(alpha.label, beta.label, out=work.states)
        self.per_label.multiply(both, counts)
        # The first state has the blank as its last label, and emits none.
        counts[0] = torch.mul(alpha.blank, beta.blank, out=work.states).sum(0)
        total = counts.sum(0)
        counts.div_(total)
        return total

    def chunk(self, frames: int, batch: int) -> int:
        """Tell how many frames' forward probabilities fit into the memory."""
        if 16 * self.states * batch * frames <= self.memory:
            return max(frames, 1)
        return math.isqrt(frames - 1) + 1


def run_scaled(
    denominator: ScaledDenominator, symbols: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sum over paths, and count symbols.

    Args:
        denominator: The recursions.
        symbols: Probabilities of symbols, 1 at most (T, V, B).

    Returns:
        log Z (B,), expected counts (T, V, B), and a bound of the relative error (B,),
        which is not a number where there is none.
    """
    frames, _, batch = symbols.shape
    chunk = denominator.chunk(frames, batch)
    work = denominator.workspace(batch)
    kept = symbols.new_empty(chunk, 2, denominator.states, batch)
    starts: list[StateProbs] = []
    alpha = denominator.first(batch)
    # Sums of the forward probabilities, by which the next frame's symbols are divided.
    scales = symbols.new_ones(frames + 1, batch)
    for t in range(frames):
        if t % chunk == 0:
            starts.append(StateProbs(alpha.label.clone(), alpha.blank.clone()))
        out = StateProbs(*kept[t % chunk])
        denominator.forward_step(alpha, symbols[t] / scales[t], out, work)
        alpha = out
        torch.sum(kept[t % chunk], (0, 1), out=scales[t + 1])
    end = ((alpha.label + alpha.blank) * denominator.final).sum(0) / scales[-1]
    log_z = scales.log().sum(0) + end.log()
    error = _FLOOR / end
    counts = torch.empty_like(symbols)
    beta = denominator.last(batch)
    for number in reversed(range(len(starts))):
        inside = range(number * chunk, min((number + 1) * chunk, frames))
        if number < len(starts) - 1:
            alpha = starts[number]
            for t in inside:
                out = StateProbs(*kept[t % chunk])
                denominator.forward_step(alpha, symbols[t] / scales[t], out, work)
                alpha = out
        for t in reversed(inside):
            both = denominator.count(
                StateProbs(*kept[t % chunk]), beta, counts[t], work
            )
            # The scales of the forward recursion could let these overflow.
            total = beta.label.sum(0) + beta.blank.sum(0)
            # Each recursion adds the floor, which the other one continues.
            error += _FLOOR * (scales[t + 1] + total) / both
            denominator.backward_step(beta, symbols[t] / total, work)
    error.masked_fill_((scales < _LEAST_SCALE).any(0), math.nan)
    return log_z, counts, error
