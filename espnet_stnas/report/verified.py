"""What a verification found: its file, table and figure. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_text
from espnet_stnas.messages import one_line
from espnet_stnas.report.chart import Chart, Panel, Spot
from espnet_stnas.report.drawing import COLOURS, LINE, add_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


def verified_chart(verified: Verified) -> Chart:
    """Draw the error rate of each group with its interval, a panel for each test set.

    Small points are the architectures of a group, or its seeds.

    Args:
        verified: The outcome.
    """
    panels, most = [], 1
    for test in verified.tests:
        shown = [(g, g.rate) for g in test.groups if g.rate is not None]
        most = max(most, len(shown))
        rates = "; ".join(
            f"{g.name} {r.value:.2f}, from {r.low:.2f} to {r.high:.2f}"
            for g, r in shown
        )
        unit = f"{UNITS[verified.metric]} on {test.name}"
        spots = [
            Spot(r.value, n, f"{g.name}: {r.value:.2f} %\n{r.low:.2f} to {r.high:.2f}")
            for n, (g, r) in enumerate(shown)
        ]
        draw = partial(_draw, shown, verified.chosen, f"{unit} in percent")
        alt = f"Percent {unit}, with 95 % intervals: {rates}."
        panels.append(Panel(draw, alt, spots))
    height = 1.0 + 0.35 * most
    return Chart(panels, size=(6.5, height), height=height)


def _draw(
    groups: Sequence[tuple[VerifiedGroup, Interval]], chosen: str, unit: str, axis: Axes
) -> None:
    for line, (group, rate) in enumerate(groups):
        colour = COLOURS[0] if group.name == chosen else COLOURS[7]
        marker = "D" if group.name == chosen else "o"
        axis.plot([rate.low, rate.high], [line, line], color=colour, linewidth=2)
        if len(group.single) > 1:
            below = [line + 0.2] * len(group.single)
            axis.plot(group.single, below, ".", color=colour, markersize=4)
        axis.plot(rate.value, line, marker, color=colour)
        if group.name == "random":
            axis.axvline(rate.value, color=LINE, linewidth=0.8, zorder=0)
    axis.set_yticks(range(len(groups)), [group.name for group, _ in groups])
    axis.set_ylim(len(groups) - 0.5, -0.5)
    axis.set_xlabel(f"{unit}, 95 % intervals")
    add_grid(axis)


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
