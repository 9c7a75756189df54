"""Learning rate schedules of the architecture logits."""

from __future__ import annotations

from typing import Any, Optional

from espnet2.schedulers.abs_scheduler import (
    AbsBatchStepScheduler,
    AbsEpochStepScheduler,
    AbsScheduler,
    AbsValEpochStepScheduler,
)

from espnet_stnas.search.warmup import Warmup


class AfterWarmup(AbsEpochStepScheduler):
    """An epoch scheduler that starts after the warm-up.

    ESPnet steps every scheduler at the end of each epoch. Without this class, the
    learning rate of the logits would decay before their first step.

    Args:
        scheduler: The scheduler to delay.
        warmup: Knows the epochs to wait.
    """

    def __init__(self, scheduler: Any, warmup: Warmup) -> None:
        self.scheduler = scheduler
        self.warmup = warmup
        self.epochs = 0

    def step(self, *value: Any) -> None:
        """End an epoch, or a batch for a scheduler that counts both.

        Args:
            value: The validation result after an epoch, if the scheduler wants it.
        """
        if not value and isinstance(self.scheduler, AbsBatchStepScheduler):
            # Architecture steps are made after the warm-up only.
            self.scheduler.step()
            return
        self.epochs += 1
        if not self.warmup.includes(self.epochs):
            self.scheduler.step(*value)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain containers, as ESPnet saves it."""
        return {"epochs": self.epochs, "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state from `state_dict`."""
        self.epochs = state["epochs"]
        self.scheduler.load_state_dict(state["scheduler"])


class ValueAfterWarmup(AfterWarmup, AbsValEpochStepScheduler):
    """The same for schedulers that depend on a validation result."""


class BatchAndValueAfterWarmup(ValueAfterWarmup, AbsBatchStepScheduler):
    """The same for schedulers that ESPnet steps after batches, too."""


def after_warmup(
    scheduler: Optional[AbsScheduler], warmup: Warmup
) -> Optional[AbsScheduler]:
    """Delay a scheduler until the end of the warm-up, if it counts epochs."""
    if isinstance(scheduler, AbsValEpochStepScheduler):
        if isinstance(scheduler, AbsBatchStepScheduler):
            return BatchAndValueAfterWarmup(scheduler, warmup)
        return ValueAfterWarmup(scheduler, warmup)
    if isinstance(scheduler, AbsEpochStepScheduler):
        return AfterWarmup(scheduler, warmup)
    return scheduler
