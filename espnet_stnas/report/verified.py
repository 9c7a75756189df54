"""What a verification found: its file, table and figure. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_text
from espnet_stnas.messages import one_line
from espnet_stnas.report.drawing import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "verification.json"
UNITS = {"wer": "word errors", "ter": "token errors"}


class Interval(NamedTuple):
    """A value in percent or percentage points, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class VerifiedGroup:
    """A group of trainings on one test set.

    Args:
        name: Name of the group.
        trainings: Their number.
        params: The numbers of parameters of their encoders, in order.
        epochs: Epochs of all of them.
        hours: Hours of all of them.
        rate: Error rate; None if they were ended before.
        minus_random: Its difference to the random ones.
        single: Error rates of its architectures, or of its seeds.
    """

    name: str
    trainings: int
    params: Sequence[int]
    epochs: int
    hours: float
    rate: Optional[Interval]
    minus_random: Optional[Interval]
    single: Sequence[float]

    @property
    def cells(self) -> list[str]:
        """The cells of its row in a table."""
        params = [f"{p:,}" for p in self.params]
        several = f"{params[0]} to {params[-1]}" if len(params) > 1 else "".join(params)
        ended = "" if self.rate is not None else " (ended before)"
        return [
            f"{self.name}{ended}",
            several,
            str(self.trainings),
            str(self.epochs),
            f"{self.hours:.2f}",
            *_texts(self.rate, ".2f"),
            *_texts(self.minus_random, "+.2f"),
        ]


@dataclass(frozen=True)
class VerifiedTest:
    """Results on one test set.

    Args:
        name: Its name.
        verdict: Sentences.
        groups: The groups, the chosen one first.
    """

    name: str
    verdict: Sequence[str]
    groups: Sequence[VerifiedGroup]


@dataclass(frozen=True)
class Verified:
    """All that a report says of a verification.

    Args:
        chosen: Name of the best finalist.
        metric: ``wer`` or ``ter``.
        tests: Results by test set.
        remarks: Sentences about the cost, and about what readers should know.
    """

    chosen: str
    metric: str
    tests: Sequence[VerifiedTest]
    remarks: Sequence[str]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verified:
        """Take what is shown from the data of a verification.

        Args:
            data: Everything by name, as ``verification.json`` has it.

        Raises:
            KeyError, TypeError, ValueError: If something is missing.
        """
        return cls(
            data["chosen"],
            data["metric"],
            [
                VerifiedTest(name, test["verdict"], list(map(_group, test["groups"])))
                for name, test in data["tests"].items()
            ],
            [data["costs"], *data["notes"]],
        )

    @property
    def header(self) -> list[str]:
        """Names of the table's columns."""
        return [
            *("encoder", "parameters", "trainings", "epochs", "hours"),
            *(
                f"{self.metric.upper()} %",
                "95 % interval",
                "minus random",
                "95 % interval of it",
            ),
        ]


def read_verified(directory: PathLike) -> Verified:
    """Read the outcome in the directory of a verification.

    Args:
        directory: What was the ``--output`` of ``stnas verify``.

    Raises:
        ConfigError: If its file cannot be read.
    """
    path = Path(directory) / FILE
    try:
        return Verified.from_dict(json.loads(read_text(path, "verification")))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"verification {path} is damaged or of another version "
            f"({one_line(error)}); run stnas verify again, which keeps its trainings"
        ) from None


def verified_figure(verified: Verified) -> Figure:
    """Draw the error rate of each group with its interval, a panel for each test set.

    Small points are the architectures of a group, or its seeds.

    Args:
        verified: The outcome.
    """
    count = len(verified.tests)
    shown = [[g for g in test.groups if g.rate is not None] for test in verified.tests]
    figure = new_figure(6.5, count * (1.0 + 0.35 * max(map(len, shown))))
    for place, (test, groups) in enumerate(zip(verified.tests, shown, strict=True), 1):
        axis = figure.add_subplot(count, 1, place)
        for line, group in enumerate(groups):
            assert group.rate is not None
            colour = COLOURS[0] if group.name == verified.chosen else COLOURS[7]
            ends = [group.rate.low, group.rate.high]
            axis.plot(ends, [line, line], color=colour, linewidth=2)
            if len(group.single) > 1:
                below = [line + 0.2] * len(group.single)
                axis.plot(group.single, below, ".", color=colour, markersize=4)
            axis.plot(group.rate.value, line, "o", color=colour)
            if group.name == "random":
                axis.axvline(group.rate.value, color="0.8", linewidth=0.8, zorder=0)
        axis.set_yticks(range(len(groups)), [group.name for group in groups])
        axis.set_ylim(len(groups) - 0.5, -0.5)
        axis.set_xlabel(
            f"{UNITS[verified.metric]} on {test.name} in percent, 95 % intervals"
        )
        axis.grid(axis="x", color="0.9", linewidth=0.6)
    return figure


def _group(data: Mapping[str, Any]) -> VerifiedGroup:
    rest = {k: v for k, v in data.items() if k not in ("rate", "minus_random")}
    rate, minus = (
        None if data[key] is None else Interval(**data[key])
        for key in ("rate", "minus_random")
    )
    return VerifiedGroup(**rest, rate=rate, minus_random=minus)


def _texts(value: Optional[Interval], form: str) -> list[str]:
    if value is None:
        return ["", ""]
    return [f"{value.value:{form}}", f"{value.low:{form}} to {value.high:{form}}"]
