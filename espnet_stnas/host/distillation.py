"""Distillation of CTC outputs: what a teacher's frames say, and what a student's do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F


def distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of a student's frames from a teacher's.

    Args:
        student: Log probabilities (B, T, V).
        teacher: Log probabilities (B, T, V); no gradient flows into them.
        lengths: Valid frames (B,).

    Returns:
        KL(teacher || student) () in nats: summed over frames, and a mean over
        utterances, as ESPnet's CTC loss.
    """
    frames = F.kl_div(student, teacher.detach(), reduction="none", log_target=True)
    positions = torch.arange(student.size(1), device=lengths.device)
    valid = (positions < lengths[:, None]).to(frames.device)
    # Not a product: padding may hold anything.
    sums = torch.where(valid, frames.sum(dim=2), 0.0).sum(dim=1)
    return sums.mean()


class CTCOutput:
    """What a CTC module was asked about first: the output of the encoder.

    Args:
        ctc: ESPnet's CTC module.
    """

    def __init__(self, ctc: torch.nn.Module) -> None:
        self._ctc = ctc
        self._inputs: tuple[torch.Tensor, ...] = ()

    def note(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """Keep the inputs of the first call, as a forward pre-hook.

        Args:
            _: The module, which is known.
            inputs: Frames (B, T, D), their lengths (B,), and labels.
        """
        # Later calls are for inner layers of the encoder (intermediate CTC).
        self._inputs = self._inputs or inputs

    @property
    def lengths(self) -> torch.Tensor:
        """Valid frames (B,)."""
        return self._inputs[1]

    def log_probabilities(self) -> torch.Tensor:
        """Return the log probabilities (B, T, V) of the symbols, blank included."""
        found: torch.Tensor = self._ctc.log_softmax(self._inputs[0])  # type: ignore[operator]
        return found


@contextmanager
def ctc_output(ctc: torch.nn.Module) -> Iterator[CTCOutput]:
    """Note what a CTC module gets while a model computes its loss.

    Args:
        ctc: ESPnet's CTC module.
    """
    output = CTCOutput(ctc)
    hook = ctc.register_forward_pre_hook(output.note)
    try:
        yield output
    finally:
        hook.remove()
