"""Turns panels that matplotlib has drawn into figures of plotly. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from math import log10
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet_stnas.report.svg import variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

# Plotly knows < and > by their names, and quotes as they are.
_escaped = partial(escape, quote=False)
# Words of plotly for what matplotlib abbreviates.
_DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot", "None": "solid"}
_MARKERS = {
    "o": "circle",
    ".": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "p": "pentagon",
}
_STEPS = {"default": "linear", "steps-post": "hv"}
# Plotly's units are pixels; matplotlib's are 1/72 inch. Pages have 96 pixels per inch.
_PIXELS = 96 / 72
# A line has a marker at some of its points only; drawing.curve_style has as many.
_MOST_MARKERS = 7


def interactive(
    axis: Axes, spots: Mapping[tuple[float, float], str], labels: Sequence[str]
) -> dict[str, Any]:
    """Return a panel as a figure of plotly.

    Colours are variables of the page's style sheet.

    Args:
        axis: The panel; it has been drawn, or its ticks are not known yet.
        spots: What to say of points. If there are none, every point of a line says
            its name and values.
        labels: Entries of the legend. A trace's ``meta`` is the number of its entry;
            None: the legend does not have it.

    Returns:
        ``data`` and ``layout``, as plotly takes them.
    """
    from matplotlib.text import Annotation

    lines = [line for line in axis.get_lines() if _data(line)[0]]
    shapes = [_bar(patch) for patch in axis.patches if not _is_data(patch)]
    traces = [_area(p, labels) for p in axis.patches if _is_data(p)]
    for line in lines:
        if _is_data(line):
            traces.append(_trace(line, axis, spots, labels))
        else:
            shapes.append(_limit(line))
    notes = [text for text in axis.texts if isinstance(text, Annotation)]
    return {
        "data": traces,
        "layout": {
            "title": {"text": _escaped(axis.get_title())},
            "xaxis": _axis(axis.xaxis, axis.get_xlim(), axis.get_xscale()),
            "yaxis": _axis(axis.yaxis, axis.get_ylim(), axis.get_yscale()),
            "shapes": shapes,
            "annotations": [
                {
                    "x": _short(note.xy[0]),
                    "y": _short(note.xy[1]),
                    "text": _escaped(note.get_text()),
                    "showarrow": False,
                    "xanchor": "left",
                    "yanchor": "bottom",
                }
                for note in notes
            ],
        },
    }


def _is_data(artist: Line2D | Patch) -> bool:
    """Whether both directions of something are in units of the data."""
    axes: Any = artist.axes
    return all(artist.get_transform().contains_branch_seperately(axes.transData))


def _data(line: Line2D) -> tuple[list[float], list[float]]:
    x, y = (np.asarray(v, float).tolist() for v in line.get_data())
    return x, y


def _trace(
    line: Line2D,
    axis: Axes,
    spots: Mapping[tuple[float, float], str],
    labels: Sequence[str],
) -> dict[str, Any]:
    x, y = _data(line)
    marker, dash = str(line.get_marker()), str(line.get_linestyle())
    label = str(line.get_label())
    trace: dict[str, Any] = {
        "type": "scatter",
        "x": [_short(v) for v in x],
        "y": [_short(v) for v in y],
        "name": _escaped(label),
        "meta": labels.index(label) if label in labels else None,
        "mode": "+".join(
            ["lines"] * (dash != "None") + ["markers"] * (marker in _MARKERS)
        ),
        "line": {
            "color": _colour(line.get_color()),
            "width": line.get_linewidth() * _PIXELS,
            "dash": _DASHES[dash],
            "shape": _STEPS[line.get_drawstyle()],
        },
        "marker": {
            "color": _colour(line.get_color()),
            "size": line.get_markersize() * _PIXELS * (0.5 if marker == "." else 1),
            "symbol": _MARKERS.get(marker, "circle"),
        },
    }
    if line.get_markevery() is not None:
        trace["marker"]["maxdisplayed"] = _MOST_MARKERS
    texts = [spots.get(place, "") for place in zip(x, y, strict=True)]
    if any(texts):
        trace["text"] = [_escaped(text).replace("\n", "<br>") for text in texts]
        trace["hovertemplate"] = "%{text}<extra></extra>"
    elif spots:
        trace["hoverinfo"] = "skip"
    else:
        unit = _escaped(axis.get_xlabel())
        trace["hovertemplate"] = (
            f"{_escaped(label)}: %{{y:.4~g}}<br>{unit} %{{x:.4~g}}<extra></extra>"
        )
    return trace


def _area(patch: Patch, labels: Sequence[str]) -> dict[str, Any]:
    vertices: Any = patch.get_path().vertices
    x, y = vertices.T
    label = str(patch.get_label())
    return {
        "type": "scatter",
        "x": [_short(v) for v in x],
        "y": [_short(v) for v in y],
        "meta": labels.index(label) if label in labels else None,
        "mode": "none",
        "fill": "toself",
        "fillcolor": _colour(patch.get_facecolor()),
        "opacity": patch.get_alpha() or 1,
        "hoverinfo": "skip",
    }


def _bar(patch: Patch) -> dict[str, Any]:
    """Return what is as high as the axes."""
    vertices: Any = patch.get_path().vertices
    places = patch.get_patch_transform().transform(vertices)[:, 0]
    return {
        "type": "rect",
        "yref": "paper",
        "x0": _short(min(places)),
        "x1": _short(max(places)),
        "y0": 0,
        "y1": 1,
        "layer": "below",
        "line": {"width": 0},
        "fillcolor": _colour(patch.get_facecolor()),
    }


def _limit(line: Line2D) -> dict[str, Any]:
    """Return what is as wide, or as high, as the axes."""
    (x0, x1), (y0, y1) = _data(line)
    axes: Any = line.axes
    x_is_data, _ = line.get_transform().contains_branch_seperately(axes.transData)
    return {
        "type": "line",
        "xref": "x" if x_is_data else "paper",
        "yref": "paper" if x_is_data else "y",
        **{"x0": _short(x0), "x1": _short(x1), "y0": _short(y0), "y1": _short(y1)},
        "layer": "below",
        "line": {
            "color": _colour(line.get_color()),
            "width": line.get_linewidth() * _PIXELS,
            "dash": _DASHES[str(line.get_linestyle())],
        },
    }


def _axis(axis: Axis, limits: Sequence[float], scale: str) -> dict[str, Any]:
    from matplotlib.ticker import FixedLocator, StrMethodFormatter

    log = scale == "log"
    found: dict[str, Any] = {
        "title": {"text": _escaped(axis.get_label_text())},
        "type": "log" if log else "linear",
        "range": [_short(log10(v) if log else v) for v in limits],
    }
    formatter = axis.get_major_formatter()
    if isinstance(formatter, StrMethodFormatter):
        # d3, which plotly uses, has Python's notation.
        found["tickformat"] = formatter.fmt.removeprefix("{x:").removesuffix("}")
    if isinstance(axis.get_major_locator(), FixedLocator):
        found["tickvals"] = [_short(v) for v in axis.get_majorticklocs()]
        found["ticktext"] = [_escaped(t.get_text()) for t in axis.get_ticklabels()]
    return found


def _colour(colour: Any) -> str:
    from matplotlib.colors import to_hex

    return variable(to_hex(colour))


def _short(value: Any) -> float:
    return float(f"{value:.6g}")
