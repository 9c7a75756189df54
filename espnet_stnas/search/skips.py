"""Steps that are skipped since a loss or gradient is not finite."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from espnet_stnas.errors import TrainingError


class Skips:
    """Counts the skipped steps of an epoch, and ends a search that makes no others.

    Args:
        kind: ``weight`` or ``architecture``, for messages.
        limit: As many in a row are too many.
    """

    def __init__(self, kind: str, limit: int) -> None:
        self.kind = kind
        self.limit = limit
        self.steps = 0
        self.skipped = 0
        self._in_a_row = 0

    def count(self, made: bool, utterances: Sequence[str]) -> None:
        """Count a step.

        Args:
            made: Whether it was made, else it was skipped.
            utterances: The utterance ids of its (last) batch.

        Raises:
            TrainingError: If as many as the limit were skipped in a row.
        """
        self.steps += 1
        self._in_a_row = 0 if made else self._in_a_row + 1
        if made:
            return
        self.skipped += 1
        if self._in_a_row >= self.limit:
            shown = ", ".join(utterances[:8])
            more = f" and {len(utterances) - 8} more" if len(utterances) > 8 else ""
            raise TrainingError(
                f"{self._in_a_row} {self.kind} steps in a row were skipped, since "
                "their loss or gradient was not finite; the last one had the "
                f"utterances {shown}{more}. Look at these, lower the learning rate or "
                "grad_clip, or switch use_amp off; --max_skipped_steps sets how many "
                "are accepted"
            )

    def report(self, epoch: int) -> None:
        """Log how many were skipped in an epoch, if any.

        Raises:
            TrainingError: If all were.
        """
        if not self.skipped:
            return
        message = (
            f"{self.skipped} of {self.steps} {self.kind} steps of epoch {epoch} were "
            "skipped, since their loss or gradient was not finite"
        )
        if self.skipped == self.steps:
            raise TrainingError(message)
        logging.warning(message)


@contextmanager
def poisoned_losses(model: torch.nn.Module) -> Iterator[None]:
    """Let a loss that is not finite have gradients that are not, so they are skipped.

    ESPnet looks at gradients only.

    Args:
        model: An ESPnet model, not wrapped for parallel training.
    """
    handle = model.register_forward_hook(_poison)
    try:
        yield
    finally:
        handle.remove()


def _poison(module: torch.nn.Module, inputs: Any, result: Any) -> Any:
    """Multiply the loss by one, or by NaN if it is not finite."""
    loss = result["loss"] if isinstance(result, dict) else result[0]
    good = torch.isfinite(loss.detach())
    loss = loss * torch.where(good, 1.0, float("nan")).to(loss.dtype)
    if isinstance(result, dict):
        return {**result, "loss": loss}
    return (loss, *result[1:])


class Updates:
    """Counts the steps that an optimizer makes."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.made = 0
        self._optimizer = optimizer

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count inside the context."""
        handle = self._optimizer.register_step_post_hook(self._count)
        try:
            yield
        finally:
            handle.remove()

    def _count(self, *_: Any) -> None:
        self.made += 1
