"""Charts of one or more panels: as one figure for a file, as several for a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from espnet_stnas.report.drawing import add_legend, labelled, new_figure
from espnet_stnas.report.interactive import interactive
from espnet_stnas.report.svg import figure_svg, handle_swatch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches. In a page, a panel is as wide as a phone, or as a third of a screen.
_PAGE_SIZE = (3.6, 2.5)
_PAGE_SIZE_ALONE = (4.9, 3.2)


@dataclass(frozen=True)
class Spot:
    """A point that a page explains.

    Args:
        x: Its place in units of the data.
        y: Its place in units of the data.
        about: What the page says of it.
    """

    x: float
    y: float
    about: str


@dataclass(frozen=True)
class Panel:
    """One panel of a chart.

    Args:
        draw: Draws it.
        alt: Describes it to those who do not see it.
        spots: Points with an explanation.
    """

    draw: Callable[[Axes], None]
    alt: str
    spots: Sequence[Spot] = ()


@dataclass(frozen=True)
class Chart:
    """Panels with a common legend.

    Args:
        panels: The panels.
        legend: Title of the legend.
        columns: Number of panels in a row of a file.
        size: Width and height of a panel in a file, in inches.
        same: Whether all panels have the same axes, which are then drawn once.
        beside: Whether the legend of a file is beside the panels.
        height: Height of a panel in a page, in inches; None: the usual one.
    """

    panels: Sequence[Panel]
    legend: str = ""
    columns: int = 1
    size: tuple[float, float] = (6.4, 3.6)
    same: bool = False
    beside: bool = False
    height: Optional[float] = None

    def figure(self) -> Figure:
        """Draw all panels in one figure, with the legend."""
        columns = min(self.columns, len(self.panels))
        rows = -(-len(self.panels) // columns)
        width, height = self.size
        figure = new_figure(columns * width, rows * height)
        axes = figure.subplots(
            rows, columns, sharex=self.same, sharey=self.same, squeeze=False
        )
        for panel, axis in zip(self.panels, axes.flat, strict=False):
            panel.draw(axis)
        used = list(axes.flat)[: len(self.panels)]
        for axis in list(axes.flat)[len(self.panels) :]:
            axis.set_visible(False)
        if self.same:
            for number, axis in enumerate(used):
                lowest = number + columns >= len(used)
                axis.xaxis.label.set_visible(lowest)
                axis.tick_params(labelbottom=lowest)
                axis.yaxis.label.set_visible(number % columns == 0)
        if self.beside:
            figure.legend(loc="outside right upper", frameon=False, fontsize=9)
        elif labelled(used):
            add_legend(figure, used, self.legend)
        return figure

    def on_page(self, name: str) -> dict[str, Any]:
        """Draw each panel for a page.

        Args:
            name: Distinguishes the chart from others of the page.

        Returns:
            ``panels``: their SVG elements; ``title`` and ``entries`` of the legend, the
            latter as pairs of SVG element and label; ``data``: the panels for plotly.
        """
        alone = len(self.panels) == 1
        width, height = _PAGE_SIZE_ALONE if alone else _PAGE_SIZE
        figures = []
        for panel in self.panels:
            figure = new_figure(width, self.height or height)
            panel.draw(figure.add_subplot())
            figures.append(figure)
        axes = [figure.axes[0] for figure in figures]
        handles = labelled(axes)
        svgs = [
            figure_svg(figure, f"{name} {number}", panel.alt)
            for number, (figure, panel) in enumerate(
                zip(figures, self.panels, strict=True)
            )
        ]
        return {
            "panels": svgs,
            "alone": alone,
            "title": self.legend,
            "entries": [(handle_swatch(h), label) for label, h in handles.items()],
            # After they were drawn, which decides on ticks.
            "data": [
                interactive(axis, _texts(panel.spots), list(handles))
                for axis, panel in zip(axes, self.panels, strict=True)
            ],
        }


def _texts(spots: Sequence[Spot]) -> dict[tuple[float, float], str]:
    """Return what to say of each place; of several spots at one place, all."""
    found: dict[tuple[float, float], str] = {}
    for spot in spots:
        place = float(spot.x), float(spot.y)
        found[place] = "\n".join(filter(None, (found.get(place), spot.about)))
    return found


@dataclass(frozen=True)
class Drawing:
    """A figure that is the same in files and in pages.

    Args:
        figure: Draws it.
        alt: Describes it to those who do not see it.
    """

    figure: Callable[[], Figure]
    alt: str

    def on_page(self, name: str) -> dict[str, Any]:
        """Draw it for a page; see :meth:`Chart.on_page`."""
        svg = figure_svg(self.figure(), name, self.alt)
        return {"panels": [svg], "alone": True, "entries": [], "data": None}
