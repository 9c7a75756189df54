"""A learning rate that rises, then falls to zero at the end of the training."""

from __future__ import annotations

from typing import Any, Optional

import torch
from espnet2.schedulers.abs_scheduler import (
    AbsBatchStepScheduler,
    AbsValEpochStepScheduler,
)


class WarmupLinearLR(AbsBatchStepScheduler, AbsValEpochStepScheduler):
    """Linear warm-up, then linear decay to zero in the last epoch.

    ESPnet's schedules with a warm-up either never reach zero or need the number of
    steps, which changes with the corpus and the batch size. This one needs the number
    of epochs: it counts the steps of the first epoch, whose end it waits for before the
    rate falls. As ESPnet's `WarmupReduceLROnPlateau`, it is stepped after batches and
    after epochs; it ignores the validation result.

    Args:
        optimizer: Its learning rates are the highest ones.
        warmup_steps: Steps in which the rate rises.
        max_epoch: Epochs of the training, as the option of that name.

    Raises:
        ValueError: If a number is too small.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        warmup_steps: int = 1000,
        max_epoch: int = 40,
    ) -> None:
        if warmup_steps < 0 or max_epoch < 1:
            raise ValueError(
                f"warmup_steps is {warmup_steps} and max_epoch {max_epoch}; accepted "
                "are integers from 0 and from 1 on"
            )
        self.optimizer = optimizer
        self.warmup_steps = warmup_steps
        self.max_epoch = max_epoch
        self.base_lrs = [group["lr"] for group in optimizer.param_groups]
        self.steps = 0
        self.epochs = 0
        self.steps_of_epoch = 0
        self.steps_in_epoch: Optional[int] = None
        self._set_rates()

    def step(self, value: Optional[float] = None) -> None:
        """End a batch, or an epoch.

        Args:
            value: The validation result after an epoch, None after a batch.
        """
        if value is None:
            self.steps += 1
            self.steps_of_epoch += 1
        else:
            self.epochs += 1
            self.steps_in_epoch = self.steps_of_epoch
            self.steps_of_epoch = 0
        self._set_rates()

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the highest rates."""
        return {k: v for k, v in vars(self).items() if k != "optimizer"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state from `state_dict`."""
        self.__dict__.update(state)

    def _set_rates(self) -> None:
        done = float(self.epochs)
        if self.steps_in_epoch:
            done += min(1.0, self.steps_of_epoch / self.steps_in_epoch)
        share = max(0.0, 1 - done / self.max_epoch)
        if self.steps < self.warmup_steps:
            share *= (self.steps + 1) / self.warmup_steps
        for group, rate in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = rate * share
