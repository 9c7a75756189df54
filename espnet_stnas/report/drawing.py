"""Common parts of all figures: distinguishable colours and safe files."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

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
# When all colours are used, further lines differ in these.
STYLES = ("-", "--", ":", "-.")
TEXT = "0.1"
# matplotlib allows less than 2^16 pixels per side.
_MOST_PIXELS = 65_000
_DPI = 150.0


def style(number: int) -> Mapping[str, Any]:
    """Return colour and line style of a line by its number (from 0)."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": STYLES[number // len(COLOURS) % len(STYLES)],
    }


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure; the sizes are in inches."""
    # pyplot is not used: it has global state and needs a display.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def shade_warmup(axis: Axes, end: float) -> None:
    """Shade the warm-up, in epochs."""
    if end > 0:
        axis.axvspan(0, end, color="0.92", zorder=0)


def prepare(axis: Axes, epochs: float) -> None:
    """Prepare an axis for curves over epochs."""
    from matplotlib.ticker import MaxNLocator

    axis.set_xlim(0, max(epochs, 1e-9))
    axis.grid(color="0.85", linewidth=0.6)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.tick_params(colors=TEXT)


def add_legend(figure: Figure, axes: Sequence[Axes], title: str) -> None:
    """Add one legend above all panels, with every label once, so that it hides no data.

    Args:
        figure: The figure.
        axes: The panels with the labels.
        title: Title above the legend.
    """
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
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


def figure_svg(figure: Figure, name: str) -> str:
    """Return a figure as an SVG element for a page.

    Args:
        figure: The figure.
        name: Distinguishes it from the other figures of the page.
    """
    # Names of shapes must differ from those of other figures on the page.
    text = _drawn(figure, "svg", name, "path").decode()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=16)


def save_figure(figure: Figure, path: PathLike) -> None:
    """Write a figure completely or not at all, in the format of the file's suffix.

    Equal figures give equal bytes.
    """
    suffix = Path(path).suffix.removeprefix(".")
    write_bytes(path, _drawn(figure, suffix, "figure"))


def _drawn(
    figure: Figure, suffix: str, salt: str, letters: Optional[str] = None
) -> bytes:
    from matplotlib import rc_context, rcParams

    dpi = min(_DPI, _MOST_PIXELS / max(figure.get_size_inches()))
    # Write neither dates nor random names.
    metadata: dict[str, Any] = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None},
    }.get(suffix, {})
    data = io.BytesIO()
    letters = letters or rcParams["svg.fonttype"]
    with rc_context({"svg.hashsalt": salt, "svg.fonttype": letters}):
        figure.savefig(data, format=suffix, dpi=dpi, metadata=metadata)
    return data.getvalue()
