"""The epochs in which the logits rest: a count, or until the supernet is ready."""

from __future__ import annotations

from typing import Union

from espnet_stnas.results.health import Health

AUTO = "auto"
# Of an automatic warm-up: the share of all epochs in which the largest architecture
# trains alone, and the share after which the logits learn in any case.
REFERENCE = 0.1
LATEST = 2 / 3
# The weights that a search begins with, and returns to after the reference.
FIRST_WEIGHTS = "first_weights.pth"


def warmup_epochs(text: str) -> Union[int, str]:
    """Read the option.

    Raises:
        ValueError: If it is neither a number nor ``auto``.
    """
    return AUTO if text == AUTO else int(text)


class Warmup:
    """Knows which epochs belong to the warm-up.

    Args:
        epochs: Their number, or ``auto``: the largest architecture trains alone for a
            tenth of all epochs, and gives a reference. Then all weights begin anew, and
            paths are drawn uniformly, until they do as well as the reference and differ
            by more than noise, or two thirds of all epochs are over.
        max_epoch: Number of epochs of the whole search.
        health: What the search measured so far.
    """

    def __init__(self, epochs: Union[int, str], max_epoch: int, health: Health) -> None:
        self.reference = 0
        """Epochs in which the largest architecture trains alone."""
        self.decided = True
        """Whether the last epoch of the warm-up is known."""
        if isinstance(epochs, int):
            self.last = epochs
            return
        self.reference = max(1, round(REFERENCE * max_epoch))
        if health.reference is not None:
            # It stays where it was if a resumed search gets more epochs.
            self.reference = health.reference.epoch
        self.decided = health.warmup_end is not None
        self.last = health.warmup_end or max(
            self.reference + 1, int(LATEST * max_epoch)
        )
        """The last epoch of the warm-up; at most, if it is not decided yet."""

    def includes(self, epoch: int) -> bool:
        """Return whether the logits rest in an epoch."""
        return epoch <= self.last

    def is_reference(self, epoch: int) -> bool:
        """Return whether the largest architecture trains alone in an epoch."""
        return epoch <= self.reference

    def end(self, epoch: int) -> None:
        """End the warm-up with an epoch."""
        self.last = epoch
        self.decided = True
