"""log Z of CTC-CRF: the sum over all label sequences and all of their CTC paths.

:mod:`espnet_stnas.ctc_crf.scaled` sums probabilities in float64 and bounds its error.
Where that is not negligible, since what counts is less probable than the rest by more
than float64 can hold, :mod:`espnet_stnas.ctc_crf.log_domain` computes the utterance
again, on logarithms: this takes longer and has no limit.

The gradient is the expected counts of symbols. It is computed together with the value,
so that autograd keeps it (B, T, V) and nothing else.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch

from espnet_stnas.ctc_crf.graph import DenominatorGraph
from espnet_stnas.ctc_crf.log_domain import LogDenominator
from espnet_stnas.ctc_crf.scaled import MEMORY, ScaledDenominator, run_scaled

# The largest relative error of Z. What float64 rounds off in thousands of frames is
# not much smaller.
_TOLERANCE = 1e-10


class Denominator:
    """The sum over all paths of a graph, on a device.

    Args:
        graph: The label LM, composed with the CTC topology.
        device: Where to compute.
        memory: Bytes for the forward probabilities of all frames.
    """

    def __init__(
        self, graph: DenominatorGraph, device: torch.device, memory: int = MEMORY
    ) -> None:
        self.scaled = ScaledDenominator(graph, device, memory)
        self._graph, self._device, self._memory = graph, device, memory

    @functools.cached_property
    def logarithmic(self) -> LogDenominator:
        """The recursions on logarithms, made when an utterance needs them."""
        return LogDenominator(self._graph.log_graph(), self._device, self._memory)

    def __call__(self, log_probs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Sum over all paths.

        Args:
            log_probs: Log-probabilities of symbols, the blank first (B, T, V).
            lengths: Valid frames (B,).

        Returns:
            log Z (B,), float64; -inf where no path is possible.
        """
        return _LogZ.apply(log_probs, lengths, self)


class _LogZ(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        log_probs: torch.Tensor,
        lengths: torch.Tensor,
        denominator: Denominator,
    ) -> torch.Tensor:
        impossible = denominator.scaled.impossible
        log_z, grad = _log_z(denominator, *_symbols(log_probs, lengths, impossible))
        if ctx.needs_input_grad[0]:
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
    """Prepare log-probabilities for the recursions.

    In padding, the blank has probability 1 and all else 0. This leaves the sum over
    states, and so Z, as it is.

    Args:
        log_probs: Log-probabilities (B, T, V).
        lengths: Valid frames (B,).
        impossible: True for symbols that the label LM never uses (V,).

    Returns:
        Log-probabilities less the largest of each frame (T, V, B), and the sum of
        these largest ones (B,).
    """
    log_probs = log_probs.detach().double().permute(1, 2, 0)
    # However probable, they must not hide the others.
    log_probs = log_probs.masked_fill(impossible[:, None], -math.inf)
    padding = _padding(lengths.to(log_probs.device), log_probs.size(0)).T
    largest = log_probs.amax(1)
    largest = torch.where(largest > -math.inf, largest, 0.0)
    symbols = (log_probs - largest[:, None]).masked_fill(padding[:, None], -math.inf)
    symbols[:, 0].masked_fill_(padding, 0.0)
    return symbols, largest.masked_fill(padding, 0.0).sum(0)


def _log_z(
    denominator: Denominator, symbols: torch.Tensor, log_scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum over paths and count symbols, utterance by utterance as it needs.

    Args:
        denominator: The recursions.
        symbols: Log-probabilities of symbols (T, V, B).
        log_scale: What is to be added to log Z (B,).

    Returns:
        log Z (B,), and expected counts (T, V, B).
    """
    log_z, counts, error = run_scaled(denominator.scaled, symbols.exp())
    # What is not a number stays so.
    again = ~(error <= _TOLERANCE) & ~symbols.isnan().any(1).any(0)
    for number in again.nonzero()[:, 0].tolist():
        log_z[number], counts[:, :, number] = denominator.logarithmic.run(
            symbols[:, :, number]
        )
    return log_z + log_scale, counts
