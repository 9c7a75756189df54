"""The outcome of a verification: groups, a verdict in words, costs. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.report.verified import UNITS
from espnet_stnas.selection.comparison import (
    Comparison,
    Errors,
    Group,
    Interval,
    caveat,
)

RANDOM = "random"
# Fields of errors, and their references, by the name of the rate.
METRICS = {"wer": ("word_errors", "words"), "ter": ("token_errors", "tokens")}


@dataclass(frozen=True)
class Trained:
    """One training.

    Args:
        name: Name of its encoder.
        kind: ``finalist``, ``random`` or ``baseline``.
        seed: Its seed.
        params: Parameters of the encoder.
        epochs: Finished epochs.
        seconds: Time of these epochs.
        criterion: Name of the validation measure.
        value: The best value of that measure.
        errors: Errors by test set; none if the training was ended before.
    """

    name: str
    kind: str
    seed: int
    params: Optional[int]
    epochs: int
    seconds: float
    criterion: str
    value: float
    errors: Mapping[str, Errors]

    @property
    def group(self) -> str:
        """Name of the group to which it belongs."""
        return RANDOM if self.kind == "random" else self.name


@dataclass(frozen=True)
class Row:
    """A group of trainings on one test set.

    Args:
        name: Name of the group.
        trainings: Its trainings.
        rate: Error rate in percent; None if not trained wholly.
        minus_random: Its difference to the random ones, in percentage points.
        single: Error rates of its architectures, or of its seeds.
    """

    name: str
    trainings: Sequence[Trained]
    rate: Optional[Interval] = None
    minus_random: Optional[Interval] = None
    single: Sequence[float] = ()

    @property
    def params(self) -> list[int]:
        """The numbers of parameters, in order."""
        return sorted({t.params for t in self.trainings if t.params is not None})

    @property
    def epochs(self) -> int:
        """The epochs of all its trainings."""
        return sum(t.epochs for t in self.trainings)

    @property
    def hours(self) -> float:
        """The hours of all its trainings."""
        return sum(t.seconds for t in self.trainings) / 3600


@dataclass(frozen=True)
class Outcome:
    """All that a verification found.

    Args:
        trainings: All trainings.
        chosen: Name of the best finalist.
        tests: Names of the test sets.
        metric: ``wer`` or ``ter``.
        search_seconds: Time of the search.
        notes: What readers of the error rates should know.
    """

    trainings: Sequence[Trained]
    chosen: str
    tests: Sequence[str]
    metric: str
    search_seconds: float
    notes: Sequence[str] = ()

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """The groups on each test set; the chosen one, random ones, all others."""
        return {test: self._rows(test) for test in self.tests}

    @cached_property
    def _groups(self) -> dict[str, list[Trained]]:
        found: dict[str, list[Trained]] = {}
        for training in self.trainings:
            found.setdefault(training.group, []).append(training)
        kinds = {name: some[0].kind for name, some in found.items()}
        order = sorted(found, key=lambda n: (n != self.chosen, kinds[n] != "random"))
        return {name: found[name] for name in order}

    def _rows(self, test: str) -> list[Row]:
        numerator, denominator = METRICS[self.metric]
        groups: dict[str, Group] = {}
        said: Optional[tuple[tuple[str, ...], tuple[int, ...]]] = None
        for name, trainings in self._groups.items():
            scored = [t for t in trainings if test in t.errors]
            parts = itertools.groupby(scored, key=lambda t: t.name)
            errors = [
                [getattr(t.errors[test], numerator) for t in seeds]
                for _, seeds in parts
            ]
            for training in scored:
                found = training.errors[test]
                own = found.utterances, getattr(found, denominator)
                if said not in (None, own):
                    raise ConfigError(
                        f"{training.name} splits the transcripts of {test} into other "
                        "tokens than the others; compare with --rate wer"
                    )
                said = own
            if errors:
                groups[name] = Group(errors)
        assert said is not None
        comparison = Comparison(groups, said[1])
        rows = []
        for name, trainings in self._groups.items():
            if name not in groups:
                rows.append(Row(name, trainings))
                continue
            versus = RANDOM in groups and name != RANDOM
            minus = comparison.difference(name, RANDOM) if versus else None
            rate, single = comparison.rate(name), comparison.rates(name)
            rows.append(Row(name, trainings, rate, minus, single))
        return rows

    def verdict(self, test: str) -> list[str]:
        """Say in words whether the chosen architecture is better than random ones.

        Args:
            test: Name of the test set.
        """
        rows = {row.name: row for row in self.rows[test]}
        chosen, drawn = rows[self.chosen], rows.get(RANDOM)
        assert chosen.rate is not None
        unit = UNITS[self.metric]
        if drawn is None or drawn.rate is None or chosen.minus_random is None:
            return [
                f"{self.chosen} has {chosen.rate.value:.2f} % {unit} on {test}. No "
                "random architectures were trained, so nothing tells whether the "
                "search was better than chance: give --random 3, or more."
            ]
        minus = chosen.minus_random
        count = len({t.name for t in drawn.trainings})
        kind = f"{count} random architectures have on average"
        if count == 1:
            kind = "the random architecture has"
        lines = [
            f"{self.chosen} has {chosen.rate.value:.2f} % {unit} on {test}; {kind} "
            f"{drawn.rate.value:.2f} %. The difference is {minus.value:+.2f} points, "
            f"with a 95 % interval from {minus.low:+.2f} to {minus.high:+.2f}."
        ]
        if not minus.excludes_zero:
            lines.append(
                "So it is not shown that the search was better than chance, nor that "
                "it was not: the interval has both. More seeds, random architectures "
                "or utterances make it narrower."
            )
        elif minus.high < 0:
            lines.append("So the chosen architecture is better than chance.")
        else:
            lines.append(
                "So the chosen architecture is worse than random ones of equal size."
            )
        if count > 1:
            beaten = sum(rate > chosen.rate.value for rate in drawn.single)
            lines.append(
                f"It is better than {beaten} of {count} random ones; the best of them "
                f"has {min(drawn.single):.2f} %."
            )
        note = caveat(_shape(chosen), _shape(drawn))
        if note is not None:
            lines.append(f"Note: {note}.")
        return lines

    def costs(self) -> str:
        """Return a sentence about the hours of training."""
        hours = {kind: 0.0 for kind in ("finalist", "random", "baseline")}
        for training in self.trainings:
            hours[training.kind] += training.seconds / 3600
        compared = hours["random"] + hours["baseline"]
        search = self.search_seconds / 3600
        return (
            f"Hours of training: search {search:.2f}, finalists "
            f"{hours['finalist']:.2f}, what they are compared with {compared:.2f}; in "
            f"all {search + sum(hours.values()):.2f}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything by name, for programs."""
        return {
            "chosen": self.chosen,
            "metric": self.metric,
            "tests": {
                test: {
                    "verdict": self.verdict(test),
                    "groups": [_row_data(row) for row in rows],
                }
                for test, rows in self.rows.items()
            },
            "search_seconds": self.search_seconds,
            "costs": self.costs(),
            "trainings": [training_data(t, self.tests) for t in self.trainings],
            "notes": list(self.notes),
        }


def training_data(training: Trained, tests: Sequence[str]) -> dict[str, Any]:
    """Return the values of one training; error rates in percent, or None.

    Args:
        training: The training.
        tests: Names of the test sets.
    """
    data: dict[str, Any] = {
        "name": training.name,
        "kind": training.kind,
        "seed": training.seed,
        "params": training.params,
        "epochs": training.epochs,
        "seconds": round(training.seconds, 1),
        f"valid_{training.criterion}": training.value,
    }
    for test in tests:
        errors = training.errors.get(test)
        for metric, (numerator, denominator) in METRICS.items():
            rate = None
            if errors is not None and sum(getattr(errors, denominator)):
                wrong, said = getattr(errors, numerator), getattr(errors, denominator)
                rate = 100 * sum(wrong) / sum(said)
            data[f"{test}_{metric}"] = rate
    return data


def _row_data(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "trainings": len(row.trainings),
        "params": row.params,
        "epochs": row.epochs,
        "hours": row.hours,
        "rate": None if row.rate is None else vars(row.rate),
        "minus_random": None if row.minus_random is None else vars(row.minus_random),
        "single": list(row.single),
    }


def _shape(row: Row) -> Group:
    """Return a group of as many trainings, without errors."""
    parts = itertools.groupby(row.trainings, key=lambda t: t.name)
    return Group([[() for _ in seeds] for _, seeds in parts])
