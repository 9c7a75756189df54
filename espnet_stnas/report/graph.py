"""An architecture as a graph of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.topology import Bidirectional, Node, Residual
from espnet_stnas.report.drawing import TEXT, new_figure
from espnet_stnas.results.layer_table import LayerRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches.
_BOX = (3.0, 0.7)
_GAP = 0.22
_JOIN = 0.24
_MARGIN = 0.3
_SEARCHED, _FIXED = "#CFE5F3", "#EEEEEE"
# Letters that fit into a box, in both sizes.
_LONGEST, _LONGEST_SMALL = 34, 52


@dataclass(frozen=True)
class _Extent:
    """What a drawing needs around the line on which data come in and leave."""

    left: float
    right: float
    height: float


def architecture_figure(space: SearchSpace, rows: Sequence[LayerRow]) -> Figure:
    """Draw an architecture, from its input at the top to its output.

    A box gives the operation, the width of what comes out, parameters, the probability
    by which a search chose it, and, below, input frames per frame and the receptive
    field. What was searched is blue. Curved lines at the side are skips.

    Args:
        space: The architecture.
        rows: Its layers, see :func:`espnet_stnas.results.layer_table.layer_rows`.
    """
    drawing = _Drawing(rows)
    extent = drawing.chain_extent(space.nodes)
    left = extent.left + _MARGIN + 0.3
    width = left + extent.right + _MARGIN
    height = extent.height + 2 * _MARGIN + 0.4
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.set_xlim(-left, width - left)
    axis.set_ylim(-height, 0)
    axis.text(0, -_MARGIN, "input", ha="center", va="center", fontsize=10, color=TEXT)
    start = -_MARGIN - 0.12
    drawing.draw_chain(axis, space.nodes, 0.0, start)
    return figure


class _Drawing:
    """Draws nodes around the line on which data come in, downwards."""

    def __init__(self, rows: Sequence[LayerRow]) -> None:
        self.rows = rows

    def chain_extent(self, nodes: Sequence[Node]) -> _Extent:
        extents = [self.extent(node) for node in nodes]
        return _Extent(
            max(e.left for e in extents),
            max(e.right for e in extents),
            sum(e.height + _GAP for e in extents),
        )

    def extent(self, node: Node) -> _Extent:
        half = _BOX[0] / 2
        if isinstance(node, Residual):
            body = self.chain_extent(node.body)
            return _Extent(
                body.left, body.right + 0.3 + _BOX[0], body.height + 2 * _JOIN + _GAP
            )
        if isinstance(node, Bidirectional):
            ahead, back = self.chain_extent(node.ahead), self.chain_extent(node.back)
            height = max(ahead.height, back.height) + 3 * _JOIN
            return _Extent(
                ahead.left + ahead.right + 0.15, back.left + back.right + 0.15, height
            )
        return _Extent(half, half, _BOX[1])

    def draw_chain(
        self, axis: Axes, nodes: Sequence[Node], x: float, y: float
    ) -> float:
        """Draw nodes from (x, y) downwards; returns where the last one ends."""
        for node in nodes:
            draw = _arrow if isinstance(node, int) else _line_between
            draw(axis, (x, y), (x, y - _GAP))
            y = self.draw(axis, node, x, y - _GAP)
        return y

    def draw(self, axis: Axes, node: Node, x: float, y: float) -> float:
        if isinstance(node, Residual):
            return self._draw_residual(axis, node, x, y)
        if isinstance(node, Bidirectional):
            return self._draw_bidirectional(axis, node, x, y)
        return self._draw_layer(axis, self.rows[node], x, y)

    def _draw_residual(self, axis: Axes, node: Residual, x: float, y: float) -> float:
        body = self.chain_extent(node.body)
        side = x + body.right + 0.3 + _BOX[0] / 2
        _line(axis, [(x, y), (x, y - _JOIN), (side, y - _JOIN)])
        bottom = self.draw_chain(axis, node.body, x, y - _JOIN)
        middle = (y - _JOIN + bottom - _BOX[1]) / 2 + _BOX[1]
        _arrow(axis, (side, y - _JOIN), (side, middle))
        self._draw_layer(axis, self.rows[node.shortcut], side, middle)
        join = bottom - _GAP - _JOIN / 2
        _line(axis, [(side, middle - _BOX[1]), (side, join), (x + 0.12, join)])
        _arrow(axis, (x, bottom), (x, join + 0.12))
        _sign(axis, (x, join), "+")
        return join - 0.12

    def _draw_bidirectional(
        self, axis: Axes, node: Bidirectional, x: float, y: float
    ) -> float:
        ahead, back = self.chain_extent(node.ahead), self.chain_extent(node.back)
        places = (x - ahead.right - 0.15, x + back.left + 0.15)
        names = ("as it is", "reversed in time")
        ends = []
        for place, nodes, name in zip(
            places, (node.ahead, node.back), names, strict=True
        ):
            _line(axis, [(x, y), (x, y - _JOIN / 2), (place, y - _JOIN / 2)])
            axis.text(
                place, y - _JOIN, name, ha="center", va="center", fontsize=8, color=TEXT
            )
            ends.append(self.draw_chain(axis, nodes, place, y - 1.4 * _JOIN))
        join = min(ends) - _JOIN
        for place, end in zip(places, ends, strict=True):
            _line(axis, [(place, end), (place, join), (x, join)])
        _sign(axis, (x, join), "side by side")
        return join - 0.1

    def _draw_layer(self, axis: Axes, row: LayerRow, x: float, y: float) -> float:
        from matplotlib.patches import FancyBboxPatch

        searched = row.pi is not None or len(row.ops) > 1
        width, height = _BOX
        axis.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - height),
                width,
                height,
                boxstyle="round,pad=0.0,rounding_size=0.06",
                facecolor=_SEARCHED if searched else _FIXED,
                edgecolor="0.35",
                linewidth=0.8,
            )
        )
        texts: list[tuple[float, str, Any]] = [
            (y - 0.17, _cut(row.op, _LONGEST), 10),
            (y - 0.38, _cut(sizes(row), _LONGEST_SMALL), 7.5),
            (y - 0.55, _cut(times(row), _LONGEST_SMALL), 7.5),
        ]
        for place, text, size in texts:
            axis.text(
                x, place, text, ha="center", va="center", fontsize=size, color=TEXT
            )
        if row.skip:
            side = x - width / 2
            axis.annotate(
                "",
                (side, y - height + 0.04),
                (side, y - 0.04),
                arrowprops={
                    "arrowstyle": "->",
                    "color": "0.35",
                    "connectionstyle": "arc3,rad=0.7",
                    "shrinkA": 0,
                    "shrinkB": 0,
                },
            )
        return y - height


def sizes(row: LayerRow) -> str:
    """Width, parameters and probability, as far as they are known."""
    parts = []
    if row.width is not None:
        parts.append(f"width {row.width}")
    if row.size:
        parts.append(f"{row.size} parameters")
    if row.probability is not None:
        parts.append(f"p = {row.probability:.2f}")
    return ", ".join(parts)


def times(row: LayerRow) -> str:
    """Input frames per frame that comes out, and receptive field."""
    rate = f"1 frame in {row.view.stride}, " if row.view.stride > 1 else ""
    return f"{rate}sees {row.seen}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _line(axis: Axes, points: Sequence[tuple[float, float]]) -> None:
    axis.plot(*zip(*points, strict=True), color="0.35", linewidth=1.0, zorder=0)


def _line_between(
    axis: Axes, start: tuple[float, float], end: tuple[float, float]
) -> None:
    _line(axis, [start, end])


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "->",
            "color": "0.35",
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
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "0.35"},
    )
