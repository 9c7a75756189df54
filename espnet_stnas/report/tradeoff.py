"""Errors against cost: a table and a figure of several trainings. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from espnet_stnas.report.drawing import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """One trained architecture.

    Args:
        name: Name of its training.
        cost: What it costs.
        error: Its error rate, percent.
        weight: The weight of cost in its search; None: it was not searched.
        target: The target of its search, if it had one.
    """

    name: str
    cost: float
    error: float
    weight: Optional[float] = None
    target: Optional[float] = None


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats: no dearer and no worse, and one of both better.

    In the order of their costs.
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
    """A Markdown table, in the order of costs.

    Args:
        points: What was trained.
        unit: Of the costs.
        metric: Name of the error rate.
    """
    front = pareto_front(points)
    lines = [
        f"| training | weight | target | {unit} | {metric.upper()} % | front |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for p in sorted(points, key=lambda p: (p.cost, p.error)):
        weight = "" if p.weight is None else f"{p.weight:g}"
        target = "" if p.target is None else f"{p.target:,.0f}"
        name = p.name.replace("|", "\\|")
        lines.append(
            f"| {name} | {weight} | {target} | {p.cost:,.0f} | {p.error:.2f} "
            f"| {'yes' if p in front else ''} |"
        )
    return "\n".join(lines) + "\n"


def tradeoff_figure(points: Sequence[Point], unit: str, metric: str) -> Figure:
    """Draw errors against costs, with the front of what nothing beats.

    Args:
        points: What was trained.
        unit: Of the costs.
        metric: Name of the error rate.
    """
    figure = new_figure(6.4, 4.4)
    axis = figure.add_subplot()
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
            axis.scatter(
                [p.cost for p in some],
                [p.error for p in some],
                color=COLOURS[0] if searched else COLOURS[1],
                marker=marker,
                label=label,
                zorder=2,
            )
    for p in points:
        text = p.name if p.weight is None else f"{p.name} (weight {p.weight:g})"
        axis.annotate(
            text, (p.cost, p.error), (5, 5), textcoords="offset points", fontsize=8
        )
    axis.margins(0.15)
    axis.set_xlabel(unit)
    axis.set_ylabel(f"{metric.upper()} %")
    axis.grid(color="0.85", linewidth=0.6)
    axis.legend(frameon=False)
    return figure
