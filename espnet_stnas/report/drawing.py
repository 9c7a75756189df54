"""Common parts of all figures: distinguishable lines and safe files. No torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_stnas.files import PathLike, write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colours of Okabe and Ito, which colour-blind people can distinguish; dark first.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
)
# When all colours and markers are used, further lines differ in these.
STYLES = ("-", "--", ":", "-.")
# Who sees no colours distinguishes lines by these.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
# Colours of all else. A page replaces each of them by one of its scheme, light or dark.
TEXT = "#1a1a1a"
LINE = "#595959"
GRID = "#dadada"
SHADE = "#ececec"
PAPER = "#ffffff"
# matplotlib allows less than 2^16 pixels per side.
_MOST_PIXELS = 65_000
_DPI = 150.0


def style(number: int) -> dict[str, Any]:
    """Return colour, line style and marker of a line by its number (from 0).

    The first 32 differ in colour and marker, or in line style.

    >>> style(0) == style(8), style(0)["color"] == style(8)["color"]
    (False, True)
    """
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": STYLES[number // len(COLOURS) % len(STYLES)],
        "marker": MARKERS[number % len(MARKERS)],
    }


def curve_style(number: int, points: int) -> dict[str, Any]:
    """Return the style of a curve with so many points; some of them have its marker."""
    every = max(1, points // 6)
    # Markers of different curves stand at different places.
    first = number * every // 4 % every if points > 1 else 0
    return {**style(number), "markevery": (first, every), "markersize": 4.5}


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure; the sizes are in inches."""
    # pyplot is not used: it has global state and needs a display.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def shade_warmup(axis: Axes, end: float) -> None:
    """Shade the warm-up, in epochs."""
    if end > 0:
        axis.axvspan(0, end, color=SHADE, zorder=0, linewidth=0)


def prepare(axis: Axes, epochs: float) -> None:
    """Prepare an axis for curves over epochs."""
    from matplotlib.ticker import MaxNLocator

    axis.set_xlim(0, max(epochs, 1e-9))
    add_grid(axis)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def add_grid(axis: Axes) -> None:
    """Draw thin lines behind the data."""
    axis.set_axisbelow(True)
    axis.grid(color=GRID, linewidth=0.6)


def add_legend(figure: Figure, axes: Sequence[Axes], title: str) -> None:
    """Add one legend above all panels, with every label once, so that it hides no data.

    Args:
        figure: The figure.
        axes: The panels with the labels.
        title: Title above the legend.
    """
    handles = labelled(axes)
    # The longest label determines the number of columns; a letter has 0.1 inch.
    longest = max((len(label) for label in handles), default=1)
    columns = int(figure.get_size_inches()[0] / (0.085 * longest + 0.6))
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside upper center",
        ncols=max(1, min(len(handles), columns)),
        frameon=False,
        title=title,
    )


def labelled(axes: Sequence[Axes]) -> dict[str, Any]:
    """Return what has a label in any of the panels, by its label, in order."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return found


def save_figure(figure: Figure, path: PathLike) -> None:
    """Write a figure completely or not at all, in the format of the file's suffix.

    Equal figures give equal bytes.
    """
    suffix = Path(path).suffix.removeprefix(".")
    write_bytes(path, drawn(figure, suffix, "figure"))


def drawn(figure: Figure, suffix: str, salt: str, **options: Any) -> bytes:
    """Draw a figure, without dates and random names.

    Args:
        figure: The figure.
        suffix: The format.
        salt: Names of shapes in an SVG depend on it.
        options: Options of matplotlib (``rcParams``), with _ instead of dots.
    """
    from matplotlib import rc_context

    dpi = min(_DPI, _MOST_PIXELS / max(figure.get_size_inches()))
    metadata: dict[str, Any] = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None},
    }.get(suffix, {})
    data = io.BytesIO()
    settings: Any = {k.replace("_", "."): v for k, v in options.items()}
    with rc_context({**settings, "svg.hashsalt": salt}):
        figure.savefig(data, format=suffix, dpi=dpi, metadata=metadata)
    return data.getvalue()
