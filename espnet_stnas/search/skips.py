"""Steps that are skipped since a loss or gradient is not finite."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch

from espnet_stnas.errors import TrainingError

# As many skipped steps in a row are too many. A loss scaler that starts at 2^16 may
# skip a dozen until it has found its scale.
MAX_SKIPPED = 50

# Goes on from epoch to epoch.
_in_a_row: MutableMapping[torch.optim.Optimizer, int] = WeakKeyDictionary()


class Skips:
    """Counts the skipped steps of an epoch, and ends a search that makes no others.

    Args:
        kind: ``weight`` or ``architecture``, for messages.
        optimizer: The optimizer that makes the steps.
        limit: As many skipped steps in a row are too many.
    """

    def __init__(
        self, kind: str, optimizer: torch.optim.Optimizer, limit: int = MAX_SKIPPED
    ) -> None:
        self.kind = kind
        self.optimizer = optimizer
        self.limit = limit
        self.steps = 0
        self.skipped = 0

    def count(self, made: bool, utterances: Sequence[str]) -> None:
        """Count a step.

        Args:
            made: Whether it was made, else it was skipped.
            utterances: The utterance ids of its (last) batch.

        Raises:
            TrainingError: If as many as the limit were skipped in a row.
        """
        self.steps += 1
        count = 0 if made else _in_a_row.get(self.optimizer, 0) + 1
        _in_a_row[self.optimizer] = count
        self.skipped += not made
        if count >= self.limit:
            shown = ", ".join(utterances[:8])
            more = f" and {len(utterances) - 8} more" if len(utterances) > 8 else ""
            raise TrainingError(
                f"{count} {self.kind} steps in a row were skipped, since "
                "their loss or gradient was not finite; the last one had the "
                f"utterances {shown}{more}. Look at these, lower the learning rate or "
                "grad_clip, or switch use_amp off; --max_skipped_steps sets how many "
                "are accepted"
            )

    def report(self, epoch: int) -> None:
        """Log how many were skipped in an epoch, if any."""
        if self.skipped:
            logging.warning(
                f"{self.skipped} of {self.steps} {self.kind} steps of epoch {epoch} "
                "were skipped, since their loss or gradient was not finite"
            )


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
