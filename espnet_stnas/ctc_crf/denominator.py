"""log Z of CTC-CRF: the sum over all label sequences and all of their CTC paths.

Forward-backward recursions run over the graph of :mod:`espnet_stnas.ctc_crf.graph`, in
float64, on probabilities that are scaled in every frame. So a path counts as impossible
in a frame if its probability is 1e300 times smaller than the others' sum; log Z itself
has no limit. The gradient is the expected counts of symbols. It is computed together
with the value, so that autograd keeps it (B, T, V) and nothing else.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from espnet_stnas.ctc_crf.graph import DenominatorGraph
from espnet_stnas.ctc_crf.sparse import SparseArray, SparseMatrix

# Bytes for the forward probabilities of all frames. If they need more, only every
# sqrt(T)-th frame is kept, and the others are computed a second time.
MEMORY = 1 << 29


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


class Denominator:
    """The recursions of a graph on a device.

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
        self.final = torch.tensor(graph.final, device=device)[:, None]
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
        # Negative arcs may leave a rounding error below 0.
        out.label.clamp_(min=0.0)
        out.label.mul_(self._of_states(probs, work))
        torch.mul(total, probs[0], out=out.blank)

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
        label.add_(blank).clamp_(min=0.0)
        blank.add_(work.sources[size : 2 * size]).clamp_(min=0.0)

    def count(
        self, alpha: StateProbs, beta: StateProbs, counts: torch.Tensor, work: Workspace
    ) -> None:
        """Compute the expected count of each symbol in a frame.

        Args:
            alpha: Forward probabilities of the frame.
            beta: Backward probabilities of the frame.
            counts: The counts are written here (V, B); 0 if nothing is possible.
            work: Memory to use.
        """
        both = torch.mul(alpha.label, beta.label, out=work.states)
        self.per_label.multiply(both, counts)
        # The first state has the blank as its last label, and emits none.
        counts[0] = torch.mul(alpha.blank, beta.blank, out=work.states).sum(0)
        total = counts.sum(0)
        counts.div_(torch.where(total > 0.0, total, 1.0))

    def chunk(self, frames: int, batch: int) -> int:
        """Tell how many frames' forward probabilities fit into the memory."""
        if 16 * self.states * batch * frames <= self.memory:
            return max(frames, 1)
        return math.isqrt(frames - 1) + 1


def _scale(probabilities: StateProbs, log_scale: torch.Tensor) -> torch.Tensor:
    """Sum over states (B,); the next frame's symbols are divided by it."""
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
    """Mark the frames that are padding (B, T)."""
    steps = torch.arange(frames, device=lengths.device)
    return steps >= lengths[:, None]


def _symbols(
    log_probs: torch.Tensor, lengths: torch.Tensor, impossible: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn log-probabilities into probabilities for the recursions.

    In padding, the blank has probability 1 and all else 0. This leaves the sum over
    states, and so Z, as it is.

    Args:
        log_probs: Log-probabilities (B, T, V).
        lengths: Valid frames (B,).
        impossible: True for symbols that the label LM never uses (V,).

    Returns:
        Probabilities, divided by the largest of each frame (T, V, B), and the sum of
        the logarithms of these divisors (B,).
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
        log_scale: Logarithm of their divisors (B,).
        needs_grad: Count symbols, too.

    Returns:
        log Z (B,), and expected counts (T, V, B) if asked for.
    """
    frames, _, batch = symbols.shape
    chunk = denominator.chunk(frames, batch) if needs_grad else 1
    work = denominator.workspace(batch)
    kept = symbols.new_empty(chunk, 2, denominator.states, batch)
    starts: list[StateProbs] = []
    alpha = denominator.first(batch)
    scale = torch.ones_like(log_scale)
    scales = []
    for t in range(frames):
        if needs_grad and t % chunk == 0:
            starts.append(StateProbs(alpha.label.clone(), alpha.blank.clone()))
        out = StateProbs(*kept[t % chunk])
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
                out = StateProbs(*kept[t % chunk])
                denominator.forward_step(alpha, symbols[t] / scales[t], out, work)
                alpha = out
        for t in reversed(inside):
            denominator.count(StateProbs(*kept[t % chunk]), beta, grad[t], work)
            # The scales of the forward recursion could let these overflow. All that
            # is possible after a label is possible after a blank.
            total = beta.blank.sum(0)
            scale = torch.where(total > 0.0, total, 1.0)
            denominator.backward_step(beta, symbols[t] / scale, work)
    return log_z, grad
