"""Error rates of groups of trainings, with intervals for all that varies. No torch.

Two things vary. Another test set of the same kind has other utterances: the bootstrap
draws utterances, the same ones for all trainings (Bisani and Ney, "Bootstrap estimates
for confidence intervals in ASR performance evaluation", ICASSP 2004). Another seed, or
another random architecture, gives another training. These are few, and a bootstrap
over three of them misses the true mean far too often. So the mean of n trainings is
moved in each sample by their standard deviation over the square root of n, times a
draw from Student's t distribution with n - 1 degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

SAMPLES = 2000
# Samples whose utterances are drawn at once, which bounds the memory.
_AT_ONCE = 100

Array = Any
"""An array of numpy."""


@dataclass(frozen=True)
class Errors:
    """Errors on a test set; a number for each utterance, in the order of their names.

    Args:
        utterances: Names of the utterances.
        words: Words of the references.
        word_errors: Substituted, missing and extra words.
        tokens: Tokens of the references.
        token_errors: Substituted, missing and extra tokens.
    """

    utterances: tuple[str, ...]
    words: tuple[int, ...]
    word_errors: tuple[int, ...]
    tokens: tuple[int, ...]
    token_errors: tuple[int, ...]


@dataclass(frozen=True)
class Interval:
    """A value in percent with the ends of its 95 % interval.

    Args:
        value: The value.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Group:
    """Trainings whose mean counts.

    Args:
        architectures: For each architecture, and each of its seeds, the wrong words (or
            tokens) of every utterance.
    """

    architectures: Sequence[Sequence[Sequence[int]]]

    @property
    def independent(self) -> int:
        """How many trainings or, if it has several, architectures vary on their own."""
        several = len(self.architectures)
        return several if several > 1 else len(self.architectures[0])


class Comparison:
    """Compares groups of trainings on one test set.

    Args:
        groups: The groups by name.
        said: Words (or tokens) of the reference of every utterance.
        samples: Number of samples; the draws are always the same.
    """

    def __init__(
        self,
        groups: Mapping[str, Group],
        said: Sequence[int],
        *,
        samples: int = SAMPLES,
    ) -> None:
        self._groups = groups
        self._rng = np.random.default_rng(0)
        self._totals = np.asarray(said, dtype=float)
        self._units = {name: _units(group) for name, group in groups.items()}
        self._rates = {
            name: 100 * units.sum(axis=1) / self._totals.sum()
            for name, units in self._units.items()
        }
        self._sampled = self._sample_utterances(samples)
        # One draw for each group, so that differences have the same ones.
        self._t = {
            name: self._student(len(rates), samples)
            for name, rates in self._rates.items()
        }

    def rate(self, name: str) -> Interval:
        """Return the error rate of a group.

        With a single training, the interval has only the variation of test sets.
        """
        spread = _standard_error(self._rates[name]) * self._t[name]
        found = self._sampled[name] + spread
        return _interval(self._value(name), found, least=0.0)

    def rates(self, name: str) -> list[float]:
        """Return the error rates of the architectures of a group, or of its seeds."""
        return [float(rate) for rate in self._rates[name]]

    def difference(self, first: str, second: str) -> Interval:
        """Return by how much the error rate of one group is higher than another's.

        If one of them is a single training, its standard deviation is taken to be that
        of the other group: the question is then whether it could be one of them.
        """
        spread = self._t[first] * 0.0
        alone = [name for name in (first, second) if len(self._rates[name]) == 1]
        if len(alone) == 1:
            (other,) = {first, second} - set(alone)
            # Of one more draw and of the mean of n, with the same unknown deviation.
            n = len(self._rates[other])
            error = _standard_error(self._rates[other]) * math.sqrt(n + 1)
            spread = error * self._t[other]
        elif not alone:
            for name in (first, second):
                spread = spread + _standard_error(self._rates[name]) * self._t[name]
        value = self._value(first) - self._value(second)
        sampled = self._sampled[first] - self._sampled[second]
        return _interval(value, sampled + spread)

    def _value(self, name: str) -> float:
        return float(self._rates[name].mean())

    def _sample_utterances(self, samples: int) -> dict[str, Array]:
        """Return mean error rates of the groups in drawn test sets (samples,)."""
        count = len(self._totals)
        means = {name: units.mean(axis=0) for name, units in self._units.items()}
        found: dict[str, list[Array]] = {name: [] for name in means}
        for start in range(0, samples, _AT_ONCE):
            size = min(_AT_ONCE, samples - start)
            drawn = self._rng.multinomial(count, np.full(count, 1 / count), size=size)
            said = drawn @ self._totals
            for name, mean in means.items():
                # Empty references alone have no rate.
                found[name].append(100 * (drawn @ mean) / np.maximum(said, 1))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _student(self, count: int, samples: int) -> Array:
        if count < 2:
            return np.zeros(samples)
        return self._rng.standard_t(count - 1, size=samples)


def caveat(group: Group, other: Group) -> Optional[str]:
    """Return what the interval of a difference assumes or lacks; None if nothing.

    Args:
        group: A group.
        other: The group that it is compared with.
    """
    if group.independent > 1 and other.independent > 1:
        return None
    if group.independent == other.independent == 1:
        return (
            "each was trained once, so the interval lacks what another seed would "
            "change; give more --seeds"
        )
    return (
        "one of the two was trained once, so another seed is taken to change it as "
        "much as the trainings of the other one differ"
    )


def _units(group: Group) -> Array:
    """Return errors of each independent training, or architecture (N, utterances)."""
    if len(group.architectures) == 1:
        return np.asarray(group.architectures[0], dtype=float)
    return np.stack(
        [np.asarray(seeds, dtype=float).mean(axis=0) for seeds in group.architectures]
    )


def _standard_error(rates: Array) -> float:
    return float(rates.std(ddof=1) / math.sqrt(len(rates))) if len(rates) > 1 else 0.0


def _interval(value: float, sampled: Array, least: float = -math.inf) -> Interval:
    low, high = np.percentile(sampled, [2.5, 97.5])
    return Interval(value, max(least, float(low)), float(high))
