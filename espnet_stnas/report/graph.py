"""Draws an architecture as a graph of its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Optional

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.topology import Algebra, fold
from espnet_stnas.report.chart import Drawing
from espnet_stnas.report.drawing import COLOURS, LINE, PAPER, TEXT, new_figure, style
from espnet_stnas.report.looks import Looks
from espnet_stnas.results.layer_table import LayerRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches.
_BOX = (3.0, 0.7)
_GAP = 0.22
_JOIN = 0.24
_MARGIN = 0.3
# How much of its colour a searched layer is filled with.
_TINT = 0.14
# From the line of the data flow to a skip at its side.
_SIDE = 0.22
# Number of letters that fit into a box, for both font sizes.
_LONGEST, _LONGEST_SMALL = 32, 46


@dataclass(frozen=True)
class _Picture:
    """The drawing of some layers along the line of the data flow.

    Args:
        left: Inches to the left of the line.
        right: Inches to its right.
        height: Inches from top to bottom.
        draw: Draws it from a place (x, y) downwards; returns the y of its end.
        arrow: Whether an arrow leads to it, rather than a line.
    """

    left: float
    right: float
    height: float
    draw: Callable[[float, float], float]
    arrow: bool = False


def architecture_drawing(
    space: SearchSpace, rows: Sequence[LayerRow], looks: Optional[Looks] = None
) -> Drawing:
    """Plan the drawing of an architecture from its input at the top to its output.

    A box shows the operation, the output width, parameters, the probability of the
    chosen operation, and, below, input frames per frame and the receptive field. What
    the search chose has the colour and the marker of the operation. Lines at the side
    are skips.

    Args:
        space: The architecture.
        rows: Its layers, see :func:`espnet_stnas.results.layer_table.layer_rows`.
        looks: Numbers of the operations' styles; None: those of the candidates.
    """
    if looks is None:
        names = (name for row in rows for name in row.pi or ())
        looks = {name: number for number, name in enumerate(dict.fromkeys(names))}
    layers = ", ".join(f"{row.op}{' with a skip' * row.skip}" for row in rows)
    alt = f"Graph of the architecture, from input to output: {layers}."
    return Drawing(partial(architecture_figure, space, rows, looks), alt)


def architecture_figure(
    space: SearchSpace, rows: Sequence[LayerRow], looks: Looks
) -> Figure:
    """Draw an architecture; see :func:`architecture_drawing`."""
    drawing = _Plan(rows, looks)
    picture = fold(space.nodes, drawing)
    left = picture.left + _MARGIN
    width = left + picture.right + _MARGIN
    height = picture.height + 2 * _MARGIN + 0.5 + _GAP
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axis = drawing.axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.set_xlim(-left, width - left)
    axis.set_ylim(-height, 0)
    _text(axis, (0, -_MARGIN), "input", 10)
    end = picture.draw(0.0, -_MARGIN - 0.12)
    _arrow(axis, (0, end), (0, end - _GAP))
    _text(axis, (0, end - _GAP - 0.12), "output", 10)
    return figure


class _Plan(Algebra[_Picture]):
    """Plans the pictures of layers and blocks; they are drawn later, on an axis."""

    axis: Axes

    def __init__(self, rows: Sequence[LayerRow], looks: Looks) -> None:
        self.rows = rows
        self.looks = looks

    def layer(self, index: int) -> _Picture:
        row = self.rows[index]
        draw = partial(self._draw_layer, row)
        half, height = _BOX[0] / 2, _BOX[1]
        if not row.skip:
            return _Picture(half, half, height, draw, arrow=True)

        def draw_both(x: float, y: float) -> float:
            side = x - half - _SIDE
            _arrow(self.axis, (x, y), (x, y - _JOIN))
            bottom = draw(x, y - _JOIN)
            join = bottom - _JOIN
            _arrow(self.axis, (x, bottom), (x, join + 0.1))
            start = y - 0.06
            _line(self.axis, [(x, start), (side, start), (side, join)])
            _arrow(self.axis, (side, join), (x - 0.1, join))
            _sign(self.axis, (x, join), "+")
            return join - 0.1

        return _Picture(half + _SIDE, half, height + 2 * _JOIN + 0.1, draw_both)

    def chain(self, parts: Sequence[_Picture]) -> _Picture:
        def draw(x: float, y: float) -> float:
            for part in parts:
                if part.arrow:
                    _arrow(self.axis, (x, y), (x, y - _GAP))
                else:
                    _line(self.axis, [(x, y), (x, y - _GAP)])
                y = part.draw(x, y - _GAP)
            return y

        left, right = max(p.left for p in parts), max(p.right for p in parts)
        return _Picture(left, right, sum(p.height + _GAP for p in parts), draw)

    def residual(self, body: _Picture, shortcut: _Picture) -> _Picture:
        def draw(x: float, y: float) -> float:
            side = x + body.right + 0.3 + _BOX[0] / 2
            _line(self.axis, [(x, y), (x, y - _JOIN), (side, y - _JOIN)])
            bottom = body.draw(x, y - _JOIN)
            middle = (y - _JOIN + bottom - _BOX[1]) / 2 + _BOX[1]
            _arrow(self.axis, (side, y - _JOIN), (side, middle))
            end = shortcut.draw(side, middle)
            join = bottom - _GAP - _JOIN / 2
            _line(self.axis, [(side, end), (side, join), (x + 0.12, join)])
            _arrow(self.axis, (x, bottom), (x, join + 0.12))
            _sign(self.axis, (x, join), "+")
            return join - 0.12

        right = body.right + 0.3 + _BOX[0]
        return _Picture(body.left, right, body.height + 2 * _JOIN + _GAP, draw)

    def bidirectional(self, ahead: _Picture, back: _Picture) -> _Picture:
        left, right = ahead.right + 0.15, back.left + 0.15

        def draw(x: float, y: float) -> float:
            ends = []
            for place, part, name in (
                (x - left, ahead, "as it is"),
                (x + right, back, "reversed in time"),
            ):
                lines = [(x, y), (x, y - _JOIN / 2), (place, y - _JOIN / 2)]
                _line(self.axis, lines)
                _text(self.axis, (place, y - _JOIN), name, 8)
                ends.append((place, part.draw(place, y - 1.4 * _JOIN)))
            join = min(end for _, end in ends) - _JOIN
            for place, end in ends:
                _line(self.axis, [(place, end), (place, join), (x, join)])
            _sign(self.axis, (x, join), "side by side")
            return join - 0.1

        height = max(ahead.height, back.height) + 3 * _JOIN
        return _Picture(ahead.left + left, back.right + right, height, draw)

    def cell(
        self, bodies: Sequence[_Picture], skips: Sequence[Sequence[_Picture]]
    ) -> _Picture:
        """Plan nodes below each other; a node's skips are a row at its right."""
        step = _BOX[0] + 0.3
        side = max(body.right for body in bodies) + 0.3 + _BOX[0] / 2

        def draw(x: float, y: float) -> float:
            for number, (body, own) in enumerate(zip(bodies, skips, strict=True), 1):
                _arrow(self.axis, (x, y), (x, y - _GAP))
                bottom = body.draw(x, y - _GAP)
                join = bottom - _GAP - _JOIN / 2
                for source, skip in enumerate(own):
                    place = x + side + source * step
                    name = f"from node {source}" if source else "from the input"
                    _text(self.axis, (place, y - _GAP / 2), name, 8)
                    end = skip.draw(place, y - _GAP)
                    _line(self.axis, [(place, end), (place, join), (x + 0.12, join)])
                _arrow(self.axis, (x, bottom), (x, join + 0.12))
                _sign(self.axis, (x, join), f"+ (node {number})")
                y = join - 0.12
            return y

        left = max(body.left for body in bodies)
        right = side + (len(bodies) - 1) * step + _BOX[0] / 2
        height = sum(body.height + 2 * _GAP + _JOIN / 2 + 0.12 for body in bodies)
        return _Picture(left, right, height, draw)

    def _draw_layer(self, row: LayerRow, x: float, y: float) -> float:
        from matplotlib.patches import FancyBboxPatch

        searched = row.pi is not None or len(row.ops) > 1
        number = self.looks.get(row.op)
        colour = LINE if number is None else COLOURS[number % len(COLOURS)]
        width, height = _BOX
        edges: dict[str, Any] = {
            "facecolor": "none",
            "edgecolor": colour,
            "linewidth": 0.8,
        }
        if searched:
            edges |= {"facecolor": (colour, _TINT), "linewidth": 1.8}
        self.axis.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - height),
                width,
                height,
                boxstyle="round,pad=0.0,rounding_size=0.06",
                **edges,
            )
        )
        if number is not None:
            mark = style(number)["marker"]
            left = x - width / 2
            self.axis.plot(
                left + 0.16, y - 0.17, color=colour, marker=mark, markersize=6
            )
        texts: list[tuple[float, str, Any]] = [
            (y - 0.17, _cut(row.op, _LONGEST), 10),
            (y - 0.38, _cut(sizes(row), _LONGEST_SMALL), 8.5),
            (y - 0.55, _cut(times(row), _LONGEST_SMALL), 8.5),
        ]
        for place, text, size in texts:
            _text(self.axis, (x, place), text, size)
        return y - height


def sizes(row: LayerRow) -> str:
    """Return width, parameters and probability in words, as far as known."""
    parts = []
    if row.width is not None:
        parts.append(f"width {row.width}")
    if row.size:
        parts.append(f"{row.size} parameters")
    if row.probability is not None:
        parts.append(f"p = {row.probability:.2f}")
    return ", ".join(parts)


def times(row: LayerRow) -> str:
    """Return input frames per output frame and the receptive field in words."""
    rate = f"1 frame in {row.view.stride}, " if row.view.stride > 1 else ""
    return f"{rate}sees {row.seen}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _line(axis: Axes, points: Sequence[tuple[float, float]]) -> None:
    axis.plot(*zip(*points, strict=True), color=LINE, linewidth=1.0, zorder=0)


def _text(axis: Axes, place: tuple[float, float], text: str, size: float) -> None:
    axis.text(*place, text, ha="center", va="center", fontsize=size, color=TEXT)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "->",
            "color": LINE,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def _sign(axis: Axes, place: tuple[float, float], text: str) -> None:
    axis.text(
        *place,
        text,
        ha="center",
        va="center",
        fontsize=9,
        color=TEXT,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": PAPER, "edgecolor": LINE},
    )
