"""Two streams of batches, one for weight steps and one for architecture steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from espnet2.iterators.abs_iter_factory import AbsIterFactory

Batch = tuple[list[str], dict[str, Any]]

# Each pass over the architecture split is shuffled as an epoch of its own, with a
# number far above the epochs of any search.
_PASS = 1_000_000


@dataclass
class SearchBatches:
    """The batches of one epoch.

    Args:
        weights: Batches for weight steps; they determine the length of the epoch.
        architecture: Makes batches for architecture steps, if those have their own.
        epoch: The epoch, from 1.
    """

    weights: Any
    architecture: Optional[AbsIterFactory]
    epoch: int

    def __len__(self) -> int:
        """Return the number of weight batches in the epoch.

        Raises:
            TypeError: If ESPnet's iterator has no length.
        """
        return len(self.weights)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the weight batches only, like any ESPnet iterator."""
        return iter(self.weights)

    def architecture_batches(self) -> Iterator[Batch]:
        """Yield architecture batches without end, each pass in a new order.

        Raises:
            RuntimeError: If there is no such stream.
        """
        if self.architecture is None:
            raise RuntimeError("there is no stream of batches for architecture steps")
        passes = map(partial(_pass, self.architecture, self.epoch), itertools.count())
        return itertools.chain.from_iterable(passes)


def _pass(factory: AbsIterFactory, epoch: int, number: int) -> Iterator[Batch]:
    batches = iter(factory.build_iter(epoch + number * _PASS))
    first = next(batches, None)
    if first is None:
        raise RuntimeError("there is no batch for architecture steps")
    return itertools.chain([first], batches)


class SearchIterFactory(AbsIterFactory):
    """Builds the two streams of each epoch from two factories of ESPnet.

    Args:
        weights: Makes batches for weight steps.
        architecture: Makes batches for architecture steps; None for joint steps.
    """

    def __init__(
        self, weights: AbsIterFactory, architecture: Optional[AbsIterFactory]
    ) -> None:
        self.weights = weights
        self.architecture = architecture

    def build_iter(self, epoch: int, shuffle: Optional[bool] = None) -> SearchBatches:
        """Build both streams of an epoch."""
        return SearchBatches(
            self.weights.build_iter(epoch, shuffle), self.architecture, epoch
        )
