"""Curves of a search: probabilities, certainty, losses, temperature and cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Optional

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.drawing import (
    COLOURS,
    add_legend,
    new_figure,
    prepare,
    shade_warmup,
    style,
)
from espnet_stnas.results.certainty import COLLAPSED, UNMOVED, margin, relative_entropy
from espnet_stnas.results.curves import CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
# More points are not visible, and make files large.
_MOST_POINTS = 500
# A larger ratio of losses needs a logarithmic axis.
_WIDE_RANGE = 20.0


def probability_figure(space: SearchSpace, points: Sequence[CurvePoint]) -> Figure:
    """Draw the probabilities of every choice over the epochs, one panel per choice.

    Args:
        space: The search space.
        points: The points of its search, in order.

    Raises:
        ValueError: If none of them has probabilities.
    """
    points = _with_probabilities(points)
    choices = space.choices
    rows = -(-len(choices) // _COLUMNS)
    columns = min(_COLUMNS, len(choices))
    figure = new_figure(3.4 * columns, 2.1 * rows + 1.0)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    names = [[str(op) for op in choice.candidates] for choice in choices]
    # A candidate has the same style in all panels.
    styles = {
        name: style(number)
        for number, name in enumerate(dict.fromkeys(n for ns in names for n in ns))
    }
    x = [m.at for m in points]
    for index, candidates in enumerate(names):
        axis = axes.flat[index]
        _panel(axis, points)
        for k, name in enumerate(candidates):
            axis.plot(
                x,
                [m.probabilities[index][k] for m in points],
                label=name,
                marker="o" if len(x) == 1 else None,
                **styles[name],
            )
        axis.set_ylim(-0.03, 1.03)
        axis.set_title(f"layer {space.first_layers[index] + 1}", fontsize=10)
    for unused in list(axes.flat)[len(choices) :]:
        unused.set_visible(False)
    for column in range(columns):
        # The lowest used panel of each column.
        last = max(i for i in range(len(choices)) if i % columns == column)
        axes.flat[last].set_xlabel("epoch")
        axes.flat[last].tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel("probability")
    drawn = list(axes.flat)[: len(choices)]
    add_legend(figure, drawn, _title("candidate operations", points))
    return figure


def certainty_figure(space: SearchSpace, points: Sequence[CurvePoint]) -> Figure:
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
    figure = new_figure(8.4, 3.8)
    axes = figure.subplots(1, 2)
    x = [m.at for m in points]
    for axis, title, value in (
        (axes[0], "relative entropy", relative_entropy),
        (axes[1], "margin", margin),
    ):
        _panel(axis, points)
        for index, layer in enumerate(space.first_layers):
            axis.plot(
                x,
                [value(m.probabilities[index]) for m in points],
                label=f"layer {layer + 1}",
                marker="o" if len(x) == 1 else None,
                **style(index),
            )
        axis.set_ylim(-0.03, 1.03)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
    for limit in (UNMOVED, COLLAPSED):
        axes[0].axhline(limit, color="0.3", linestyle=":", zorder=1)
    add_legend(figure, axes, _title("choices", points))
    return figure


def loss_figure(points: Sequence[CurvePoint]) -> Optional[Figure]:
    """Draw the losses of all steps and of validation; None without losses."""
    lines = {
        "weight steps": _points(points, lambda m: m.loss),
        "architecture steps": _points(points, lambda m: m.arch_loss),
        "validation, most probable architecture": _points(
            points, lambda m: m.valid_loss
        ),
    }
    values = [y for line in lines.values() for _, y in line]
    if not values:
        return None
    figure = new_figure(8.4, 3.6)
    axis = figure.subplots()
    _panel(axis, points)
    for number, (name, line) in enumerate(lines.items()):
        if line:
            few = len(line) < 60
            axis.plot(
                *zip(*line, strict=True),
                label=name,
                color=COLOURS[number],
                marker="o" if few else None,
                markersize=3,
                linewidth=1.3,
            )
    if min(values) > 0 and max(values) > _WIDE_RANGE * min(values):
        axis.set_yscale("log")
    axis.set_xlabel("epoch")
    axis.set_ylabel("loss")
    add_legend(figure, [axis], _title("loss", points))
    return figure


def schedule_figure(
    points: Sequence[CurvePoint], unit: str = "", target: Optional[float] = None
) -> Optional[Figure]:
    """Draw temperature and cost over the epochs; None if the search has neither.

    Args:
        points: The points of its search, in order.
        unit: Unit of the costs.
        target: The target of the cost, if there is one.
    """
    temperature = _points(points, lambda m: m.temperature)
    cost = _points(points, lambda m: m.cost)
    panels = [panel for panel in (temperature, cost) if panel]
    if not panels:
        return None
    figure = new_figure(4.2 * len(panels), 3.4)
    axes = list(figure.subplots(1, len(panels), squeeze=False).flat)
    for axis in axes:
        _panel(axis, points)
        axis.set_xlabel("epoch")
    if temperature:
        axes[0].plot(*zip(*temperature, strict=True), color=COLOURS[2], marker=".")
        axes[0].set_ylabel("temperature")
    if cost:
        axis = axes[-1]
        best = _points(points, lambda m: m.cost_argmax)
        axis.plot(*zip(*cost, strict=True), color=COLOURS[0], label="expected cost")
        if best:
            axis.plot(
                *zip(*best, strict=True),
                color=COLOURS[1],
                drawstyle="steps-post",
                label="most probable architecture",
            )
        if target is not None:
            axis.axhline(target, color="0.3", linestyle=":", label="target")
        axis.set_ylabel(unit)
        add_legend(figure, [axis], "cost")
    return figure


def comparison_figure(searches: Sequence[tuple[str, Sequence[CurvePoint]]]) -> Figure:
    """Draw certainty and losses of several searches side by side.

    The losses are those of architecture steps. Searches that have only joint steps get
    a panel of their own with the losses of weight steps.

    Args:
        searches: Name and points of each search.
    """
    losses = [_points(points, lambda m: m.arch_loss) for _, points in searches]
    joint = [
        [] if known else _points(points, lambda m: m.loss)
        for known, (_, points) in zip(losses, searches, strict=True)
    ]
    panels = {"architecture loss": losses, "loss of weight steps": joint}
    panels = {title: lines for title, lines in panels.items() if any(lines)}
    titles = ["mean relative entropy", *panels]
    figure = new_figure(4.2 * len(titles), 3.8)
    axes = list(figure.subplots(1, len(titles), squeeze=False).flat)
    longest = max((m.at for _, points in searches for m in points), default=1.0)
    for number, (name, points) in enumerate(searches):
        certain = [
            (m.at, sum(map(relative_entropy, m.probabilities)) / len(m.probabilities))
            for m in _thinned([m for m in points if m.probabilities])
        ]
        drawn = [certain, *(lines[number] for lines in panels.values())]
        for axis, line in zip(axes, drawn, strict=True):
            if line:
                axis.plot(*zip(*line, strict=True), label=name, **style(number))
    for axis, title in zip(axes, titles, strict=True):
        prepare(axis, longest)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
    axes[0].set_ylim(-0.03, 1.03)
    add_legend(figure, axes, "searches")
    return figure


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


def _panel(axis: Axes, points: Sequence[CurvePoint]) -> None:
    prepare(axis, max(m.at for m in points))
    shade_warmup(axis, warmup_end(points))


def warmup_end(points: Sequence[CurvePoint]) -> float:
    """Return the point at which the warm-up of a search ended; 0 without one."""
    return max((m.at for m in points if m.warmup), default=0.0)


def _title(what: str, points: Sequence[CurvePoint]) -> str:
    return f"{what} (grey: warm-up)" if warmup_end(points) else what
