"""The recursions of CTC-CRF's log Z on logarithms: without limits, and slower.

They run over the transitions of :mod:`espnet_stnas.ctc_crf.graph` written out, since
what shared transitions subtract has no logarithm.
"""

from __future__ import annotations

import math

import torch

from espnet_stnas.ctc_crf.graph import LogGraph


class LogDenominator:
    """The recursions of a graph on a device.

    Args:
        graph: The label LM, composed with the CTC topology.
        device: Where to compute.
        memory: Bytes for the forward probabilities of all frames.
    """

    def __init__(self, graph: LogGraph, device: torch.device, memory: int) -> None:
        self.states = len(graph.last_label)
        self.memory = memory
        self.last_label = torch.tensor(graph.last_label, device=device)
        self.final = torch.tensor(graph.log_final, device=device)
        self.targets = torch.tensor(graph.targets, device=device)
        self.sources = torch.tensor(graph.sources, device=device)
        self.log_probs = torch.tensor(graph.log_probs, device=device)

    def run(self, symbols: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum over the paths of an utterance, and count symbols.

        Args:
            symbols: Log-probabilities of symbols (T, V).

        Returns:
            log Z (), -inf where no path is possible; and expected counts (T, V), which
            are 0 then.
        """
        frames = len(symbols)
        # As many starts as frames after each, if all frames need too much memory.
        whole = 16 * self.states * frames <= self.memory
        chunk = frames if whole else math.isqrt(frames - 1) + 1
        alpha = self.final.new_full((2, self.states), -math.inf)
        alpha[1, 0] = 0.0
        starts = []
        for t in range(frames):
            if t % chunk == 0:
                starts.append(alpha)
            alpha = self._forward(alpha, symbols[t])
        log_z = (alpha.logsumexp(0) + self.final).logsumexp(0)
        counts = torch.zeros_like(symbols)
        if log_z == -math.inf:
            return log_z, counts
        beta = self.final.expand(2, -1)
        for number in reversed(range(len(starts))):
            inside = range(number * chunk, min((number + 1) * chunk, frames))
            alphas = [starts[number]]
            for t in inside:
                alphas.append(self._forward(alphas[-1], symbols[t]))
            for t in reversed(inside):
                label, blank = (alphas.pop() + beta - log_z).exp()
                counts[t].index_add_(0, self.last_label, label)
                # The first state has the blank as its last label, and emits none.
                counts[t, 0] = blank.sum()
                beta = self._backward(beta, symbols[t])
        return log_z, counts

    def _forward(self, alpha: torch.Tensor, symbols: torch.Tensor) -> torch.Tensor:
        """Go one frame on: forward probabilities of labels and blanks (2, S)."""
        label, blank = alpha
        total = torch.logaddexp(label, blank)
        arcs = torch.cat([total, blank])[self.sources] + self.log_probs
        label = torch.logaddexp(label, _sum_by(arcs, self.targets, self.states))
        return torch.stack([label + symbols[self.last_label], total + symbols[0]])

    def _backward(self, beta: torch.Tensor, symbols: torch.Tensor) -> torch.Tensor:
        """Go one frame back: the transpose of :meth:`_forward` (2, S)."""
        label, blank = beta[0] + symbols[self.last_label], beta[1] + symbols[0]
        arcs = label[self.targets] + self.log_probs
        either, repeated = _sum_by(arcs, self.sources, 2 * self.states).split(
            self.states
        )
        after_both = torch.logaddexp(blank, either)
        return torch.stack(
            [torch.logaddexp(label, after_both), torch.logaddexp(after_both, repeated)]
        )


def _sum_by(values: torch.Tensor, index: torch.Tensor, size: int) -> torch.Tensor:
    """Sum probabilities with the same index: logarithms (N,) to (size,)."""
    largest = values.new_full((size,), -math.inf)
    largest.scatter_reduce_(0, index, values, "amax")
    # Where all are -inf, so is the sum.
    finite = torch.where(largest > -math.inf, largest, 0.0)
    sums = torch.zeros_like(largest).index_add_(
        0, index, (values - finite[index]).exp()
    )
    return finite + sums.log()
