"""Curves of a search: probabilities, certainty, losses, temperature and cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Optional

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.chart import Chart, Panel
from espnet_stnas.report.drawing import LINE, curve_style, prepare, shade_warmup
from espnet_stnas.report.looks import Looks, looks_of
from espnet_stnas.results.certainty import COLLAPSED, UNMOVED, margin, relative_entropy
from espnet_stnas.results.curves import CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More points are not visible, and make files large.
_MOST_POINTS = 250
# A larger ratio of losses needs a logarithmic axis.
_WIDE_RANGE = 20.0

_Line = Sequence[tuple[float, float]]


def probability_chart(
    space: SearchSpace, points: Sequence[CurvePoint], looks: Optional[Looks] = None
) -> Chart:
    """Draw the probabilities of every choice over the epochs, one panel per choice.

    Args:
        space: The search space.
        points: The points of its search, in order.
        looks: Numbers of the operations' styles; None: those of this space alone.

    Raises:
        ValueError: If none of the points has probabilities.
    """
    points = _with_probabilities(points)
    looks = looks or looks_of([space])
    panels = []
    for index, choice in enumerate(space.choices):
        names = [str(op) for op in choice.candidates]
        lines = [
            (name, looks[name], [(m.at, m.probabilities[index][k]) for m in points])
            for k, name in enumerate(names)
        ]
        layer = f"layer {space.first_layers[index] + 1}"
        last = sorted(((-line[-1][1], name) for name, _, line in lines))
        ends = ", ".join(f"{name} {-p:.2f}" for p, name in last)
        panels.append(
            Panel(
                partial(_draw, _span(points), lines, ("probability", layer)),
                f"Probabilities of {layer} over {points[-1].at:g} epochs. "
                f"At the end: {ends}.",
            )
        )
    title = _title("candidate operations", points)
    return Chart(panels, title, columns=3, size=(3.4, 2.2), same=True)


def certainty_chart(space: SearchSpace, points: Sequence[CurvePoint]) -> Chart:
    """Draw relative entropy and margin of every choice over the epochs.

    Dotted lines are the limits of the warnings, see
    :mod:`espnet_stnas.results.certainty`.

    Args:
        space: The search space.
        points: The points of its search, in order.

    Raises:
        ValueError: If none of them has probabilities.
    """
    points = _with_probabilities(points)
    panels = []
    for title, value, limits in (
        ("relative entropy", relative_entropy, (UNMOVED, COLLAPSED)),
        ("margin", margin, ()),
    ):
        lines = [
            (
                f"layer {layer + 1}",
                index,
                [(m.at, value(m.probabilities[index])) for m in points],
            )
            for index, layer in enumerate(space.first_layers)
        ]
        ends = ", ".join(f"{name} {line[-1][1]:.2f}" for name, _, line in lines)
        draw = partial(_draw, _span(points), lines, ("", title), limits=limits)
        panels.append(Panel(draw, f"{title.capitalize()} at the end: {ends}."))
    return Chart(panels, _title("choices", points), columns=2, size=(4.2, 3.8))


def loss_chart(points: Sequence[CurvePoint]) -> Optional[Chart]:
    """Draw the losses of all steps and of validation; None without losses."""
    known = {
        "weight steps": _points(points, lambda m: m.loss),
        "architecture steps": _points(points, lambda m: m.arch_loss),
        "validation, most probable architecture": _points(
            points, lambda m: m.valid_loss
        ),
    }
    lines = [
        (name, number, line)
        for number, (name, line) in enumerate(known.items())
        if line
    ]
    if not lines:
        return None
    values = [y for _, _, line in lines for _, y in line]
    log = min(values) > 0 and max(values) > _WIDE_RANGE * min(values)
    ends = "; ".join(
        f"{name} from {line[0][1]:.4g} to {line[-1][1]:.4g}" for name, _, line in lines
    )
    draw = partial(_draw, _span(points), lines, ("loss", ""), unit=False, log=log)
    panel = Panel(draw, f"Losses over {points[-1].at:g} epochs: {ends}.")
    return Chart([panel], _title("loss", points), size=(8.4, 3.6))


def schedule_chart(
    points: Sequence[CurvePoint], unit: str = "", target: Optional[float] = None
) -> Optional[Chart]:
    """Draw temperature and cost over the epochs; None if the search has neither.

    Args:
        points: The points of its search, in order.
        unit: Unit of the costs.
        target: The target of the cost, if there is one.
    """
    temperature = _points(points, lambda m: m.temperature)
    cost = _points(points, lambda m: m.cost)
    best = _points(points, lambda m: m.cost_argmax)
    panels = []
    if temperature:
        ends = f"from {temperature[0][1]:.3g} to {temperature[-1][1]:.3g}"
        lines = [("temperature", 2, temperature)]
        draw = partial(_draw, _span(points), lines, ("temperature", ""), unit=False)
        panels.append(Panel(draw, f"Temperature {ends}."))
    if cost:
        lines = [("expected cost", 0, cost)]
        lines += [("most probable architecture", 1, best)] if best else []
        limits = () if target is None else (target,)
        draw = partial(
            _draw,
            _span(points),
            lines,
            (unit, ""),
            limits=limits,
            name="target",
            unit=False,
        )
        aim = "" if target is None else f" The target is {target:,.0f}."
        ends = f"from {cost[0][1]:,.0f} to {cost[-1][1]:,.0f} {unit}"
        panels.append(Panel(draw, f"Expected cost {ends}.{aim}"))
    if not panels:
        return None
    return Chart(panels, _title("schedules", points), columns=2, size=(4.2, 3.4))


def comparison_chart(searches: Sequence[tuple[str, Sequence[CurvePoint]]]) -> Chart:
    """Draw certainty and losses of several searches side by side.

    The losses are those of architecture steps. Searches that have only joint steps get
    a panel of their own with the losses of weight steps.

    Args:
        searches: Name and points of each search.
    """
    certain = [
        [
            (m.at, sum(map(relative_entropy, m.probabilities)) / len(m.probabilities))
            for m in _thinned([m for m in points if m.probabilities])
        ]
        for _, points in searches
    ]
    losses = [_points(points, lambda m: m.arch_loss) for _, points in searches]
    joint = [
        [] if known else _points(points, lambda m: m.loss)
        for known, (_, points) in zip(losses, searches, strict=True)
    ]
    drawn = {
        "mean relative entropy": certain,
        "architecture loss": losses,
        "loss of weight steps": joint,
    }
    longest = max((m.at for _, points in searches for m in points), default=1.0)
    panels = []
    for title, found in drawn.items():
        lines = [
            (name, number, line)
            for number, ((name, _), line) in enumerate(
                zip(searches, found, strict=True)
            )
            if line
        ]
        if lines:
            ends = ", ".join(f"{name} {line[-1][1]:.3g}" for name, _, line in lines)
            unit = title == "mean relative entropy"
            draw = partial(_draw, (longest, 0.0), lines, ("", title), unit=unit)
            panels.append(Panel(draw, f"{title.capitalize()} at the end: {ends}."))
    return Chart(panels, "searches", columns=len(panels), size=(4.2, 3.8))


def _draw(
    span: tuple[float, float],
    lines: Sequence[tuple[str, int, _Line]],
    names: tuple[str, str],
    axis: Axes,
    *,
    limits: Sequence[float] = (),
    name: Optional[str] = None,
    unit: bool = True,
    log: bool = False,
) -> None:
    """Draw lines over epochs.

    Args:
        span: Epochs of the search, and of its warm-up.
        lines: Name, number of the style, and places of each line.
        names: The label of the y axis, and the title.
        axis: Where to draw.
        limits: Values at which dotted lines are drawn.
        name: Their name in the legend.
        unit: Whether values go from 0 to 1.
        log: Whether the y axis is logarithmic.
    """
    prepare(axis, span[0])
    shade_warmup(axis, span[1])
    for label, number, line in lines:
        looks: dict[str, Any] = curve_style(number, len(line))
        axis.plot(*zip(*line, strict=True), label=label, **looks)
    for limit in limits:
        axis.axhline(limit, color=LINE, linestyle=":", zorder=1, label=name)
    if unit:
        axis.set_ylim(-0.03, 1.03)
    if log:
        axis.set_yscale("log")
    axis.set_xlabel("epoch")
    axis.set_ylabel(names[0])
    axis.set_title(names[1], fontsize=10)


def _with_probabilities(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    found = _thinned([m for m in points if m.probabilities])
    if not found:
        raise ValueError("no epoch to draw")
    return found


def _thinned(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return at most as many points as are visible, including the last one."""
    every = -(-len(points) // _MOST_POINTS)
    return list(reversed(list(reversed(points))[:: max(every, 1)]))


def _points(
    points: Sequence[CurvePoint], value: Callable[[CurvePoint], Optional[float]]
) -> list[tuple[float, float]]:
    known = [m for m in points if value(m) is not None]
    return [(m.at, y) for m in _thinned(known) if (y := value(m)) is not None]


def _span(points: Sequence[CurvePoint]) -> tuple[float, float]:
    return max(m.at for m in points), warmup_end(points)


def warmup_end(points: Sequence[CurvePoint]) -> float:
    """Return the point at which the warm-up of a search ended; 0 without one."""
    return max((m.at for m in points if m.warmup), default=0.0)


def _title(what: str, points: Sequence[CurvePoint]) -> str:
    return f"{what} (grey: warm-up)" if warmup_end(points) else what
