"""Successive halving: many begin, and the better ones go on. No torch.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", AISTATS 2016. Their budget is divided equally among the rungs; here the
last rung ends with whole trainings, and each one before has ``eta`` times fewer epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from espnet_stnas.errors import ConfigError


@dataclass(frozen=True)
class Rung:
    """A part of the trainings after which the better ones go on.

    Args:
        epochs: Epochs at its end, counted from the beginning of the trainings.
        entrants: How many architectures train in it.
    """

    epochs: int
    entrants: int


def plan_halving(
    count: int, max_epoch: int, *, eta: int = 2, rungs: Optional[int] = None
) -> list[Rung]:
    """Return the rungs of successive halving.

    Args:
        count: Number of architectures.
        max_epoch: Epochs of a whole training.
        eta: One of so many goes on after each rung.
        rungs: Number of rungs; 1: no halving; None: until one is left, as far as the
            epochs allow.

    Raises:
        ConfigError: If a number is out of range, or there are too few epochs.

    >>> [(rung.epochs, rung.entrants) for rung in plan_halving(8, 20)]
    [(3, 8), (5, 4), (10, 2), (20, 1)]
    """
    if eta < 2:
        raise ConfigError(
            f"eta is {eta}; accepted is an integer of 2 or more (--rungs 1 trains all "
            "to the end)"
        )
    most = 1
    while most < max_epoch and _increase(_epochs(max_epoch, eta, most + 1)):
        most += 1
    if rungs is None:
        rungs = 1
        while rungs < most and eta**rungs <= count:
            rungs += 1
    if not 1 <= rungs <= most:
        raise ConfigError(
            f"rungs is {rungs}; with max_epoch {max_epoch} and eta {eta}, accepted is "
            f"an integer from 1 to {most}, since every rung needs epochs of its own"
        )
    epochs = _epochs(max_epoch, eta, rungs)
    return [Rung(e, -(-count // eta**k)) for k, e in enumerate(epochs)]


def epochs_of(plan: Sequence[Rung]) -> int:
    """Return the epochs of all trainings of a plan together.

    >>> epochs_of(plan_halving(8, 20))
    52
    """
    before = [0, *(rung.epochs for rung in plan)]
    return sum(r.entrants * (r.epochs - b) for r, b in zip(plan, before, strict=False))


def better_ones(badness: Mapping[str, float], count: int) -> list[str]:
    """Return the names with the smallest values, the best first.

    Args:
        badness: Values by name; of equal ones, the first is better.
        count: How many to return.
    """
    return sorted(badness, key=lambda name: badness[name])[:count]


def _epochs(max_epoch: int, eta: int, rungs: int) -> list[int]:
    return [-(-max_epoch // eta**k) for k in reversed(range(rungs))]


def _increase(epochs: Sequence[int]) -> bool:
    return all(a < b for a, b in zip(epochs, epochs[1:], strict=False))
