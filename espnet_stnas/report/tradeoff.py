"""Errors against costs: a table and a figure of several trainings. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Optional

from espnet_stnas.report.chart import Chart, Panel, Spot
from espnet_stnas.report.drawing import COLOURS, TEXT, add_grid
from espnet_stnas.report.table import aligned

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Point:
    """One trained architecture.

    Args:
        name: Name of its training.
        cost: Its cost.
        error: Its error rate in percent.
        weight: The weight of cost in its search; None: it was not searched.
        target: The target of its search, if there was one.
    """

    name: str
    cost: float
    error: float
    weight: Optional[float] = None
    target: Optional[float] = None


# Points by test set and kind of cost.
Points = dict[tuple[str, str], list[Point]]
# Units of the kinds of cost, for axes.
UNITS = {
    "params": "parameters of the encoder",
    "macs": "multiply-accumulates",
    "latency": "microseconds",
    "lookahead": "ms of look-ahead",
}


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other point beats, in the order of their costs.

    A point beats another one if it is better in cost or error, and not worse in the
    other.

    >>> points = [Point("a", 1.0, 9.0), Point("b", 2.0, 5.0), Point("c", 3.0, 6.0)]
    >>> [point.name for point in pareto_front(points)]
    ['a', 'b']
    """

    def beaten(point: Point) -> bool:
        return any(
            other.cost <= point.cost
            and other.error <= point.error
            and (other.cost, other.error) != (point.cost, point.error)
            for other in points
        )

    return sorted((p for p in points if not beaten(p)), key=lambda p: (p.cost, p.error))


def tradeoff_table(points: Sequence[Point], unit: str, metric: str) -> str:
    """Return a Markdown table in the order of costs.

    Args:
        points: Trained encoders.
        unit: Unit of the costs.
        metric: Name of the error rate.
    """
    front = pareto_front(points)
    rows = [
        [
            p.name,
            "" if p.weight is None else f"{p.weight:g}",
            "" if p.target is None else f"{p.target:,.0f}",
            f"{p.cost:,.0f}",
            f"{p.error:.2f}",
            "yes" if p in front else "",
        ]
        for p in sorted(points, key=lambda p: (p.cost, p.error))
    ]
    header = ("training", "weight of cost", "target", unit, f"{metric.upper()} %")
    return aligned((*header, "front"), rows, words=(0, 5))


def tradeoff_chart(points: Sequence[Point], unit: str, metric: str) -> Chart:
    """Draw errors against costs, with the Pareto front.

    Points have numbers in the order of costs. Their names are listed beside the axes,
    since names next to the points would hide each other.

    Args:
        points: Trained encoders.
        unit: Unit of the costs.
        metric: Name of the error rate.
    """
    points = sorted(points, key=lambda p: (p.cost, p.error))
    names = [
        p.name if not p.weight else f"{p.name} (weight {p.weight:g})" for p in points
    ]
    rate = metric.upper()
    spots = [
        Spot(p.cost, p.error, f"{name}\n{p.cost:,.0f} {unit}\n{rate} {p.error:.2f} %")
        for p, name in zip(points, names, strict=True)
    ]
    best = min(points, key=lambda p: (p.error, p.cost))
    alt = (
        f"{rate} of {len(points)} trained encoders against {unit}. The lowest is "
        f"{best.error:.2f} % of {best.name}, with {best.cost:,.0f}. Not beaten: "
        f"{', '.join(p.name for p in pareto_front(points))}."
    )
    # A legend has about five lines and a dozen letters per inch.
    longest = max(map(len, names), default=0)
    size = (5.2 + longest / 13, max(4.0, 0.5 + (len(points) + 3) / 5))
    draw = partial(_draw, points, names, unit, rate)
    return Chart([Panel(draw, alt, spots)], size=size, beside=True)


def _draw(
    points: Sequence[Point], names: Sequence[str], unit: str, rate: str, axis: Axes
) -> None:
    from matplotlib.ticker import MaxNLocator

    front = pareto_front(points)
    axis.plot(
        [p.cost for p in front],
        [p.error for p in front],
        color=COLOURS[0],
        drawstyle="steps-post",
        label="Pareto front",
        zorder=1,
    )
    for searched, marker, label in ((True, "o", "searched"), (False, "s", "others")):
        some = [p for p in points if (p.weight is not None) == searched]
        if some:
            axis.plot(
                [p.cost for p in some],
                [p.error for p in some],
                color=COLOURS[0] if searched else COLOURS[1],
                linestyle="",
                marker=marker,
                label=label,
                zorder=2,
            )
    places: dict[tuple[float, float], list[int]] = {}
    for number, (p, name) in enumerate(zip(points, names, strict=True), start=1):
        places.setdefault((p.cost, p.error), []).append(number)
        axis.plot([], [], " ", label=f"{number}  {name}")
    for place, numbers in places.items():
        axis.annotate(
            ", ".join(map(str, numbers)),
            *(place, (5, 4)),
            textcoords="offset points",
            fontsize=9,
            color=TEXT,
        )
    axis.margins(0.1)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_xlabel(unit)
    axis.set_ylabel(f"{rate} %")
    add_grid(axis)
