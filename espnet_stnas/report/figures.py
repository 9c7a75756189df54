"""Figures of a search: probabilities, certainty, and the architecture."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_stnas.architecture import Architecture
from espnet_stnas.certainty import COLLAPSED, UNMOVED, margin, relative_entropy
from espnet_stnas.files import PathLike, writing
from espnet_stnas.space import SearchSpace
from espnet_stnas.spec import LARGEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people can tell apart, dark ones first.
_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
)
_MARKERS = "osD^vP*X"
_COLUMNS = 3


def save_probabilities(
    space: SearchSpace, history: Sequence[Architecture], path: PathLike
) -> None:
    """Draw the probabilities of every choice over the epochs, as small multiples.

    Args:
        space: The search space.
        history: The architectures of all epochs, in order.
        path: PNG or SVG file to write, whole or not at all.

    Raises:
        ValueError: If there is no epoch.
    """
    if not history:
        raise ValueError("no epoch to draw")
    choices = [(index + 1, space.layers[index]) for index in space.choice_layers]
    rows = -(-len(choices) // _COLUMNS)
    columns = min(_COLUMNS, len(choices))
    figure = new_figure(3.4 * columns, 2.3 * rows + 0.8)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for index, (number, layer) in enumerate(choices):
        names = [str(op) for op in layer.candidates]
        _draw_choice(axes.flat[index], f"layer {number}", names, index, history)
    for unused in list(axes.flat)[len(choices) :]:
        unused.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    for axis in axes[:, 0]:
        axis.set_ylabel("probability")
    drawn = list(axes.flat)[: len(choices)]
    _add_legend(figure, drawn, "candidate operations (grey: warm-up)")
    save_figure(figure, path)


def _draw_choice(
    axis: Axes,
    title: str,
    names: Sequence[str],
    index: int,
    history: Sequence[Architecture],
) -> None:
    epochs = _draw_epochs(axis, history)
    for k, name in enumerate(names):
        axis.plot(
            epochs,
            [a.provenance["probabilities"][index][name] for a in history],
            color=_COLOURS[k % len(_COLOURS)],
            marker=_MARKERS[k % len(_MARKERS)],
            markersize=4,
            label=name,
        )
    axis.set_title(title, fontsize=10)


def _draw_epochs(axis: Axes, history: Sequence[Architecture]) -> list[int]:
    """Prepare an axis for values from 0 to 1 of these epochs, and return them."""
    from matplotlib.ticker import MaxNLocator

    epochs = [a.provenance["epoch"] for a in history]
    warmup = [a.provenance["epoch"] for a in history if _is_warmup(a)]
    if warmup:
        axis.axvspan(min(epochs) - 0.5, max(warmup) + 0.5, color="0.9", zorder=0)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axis.grid(color="0.85", linewidth=0.6)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return epochs


def save_certainty(
    space: SearchSpace, history: Sequence[Architecture], path: PathLike
) -> None:
    """Draw relative entropy and margin of every choice over the epochs.

    Dotted lines are the limits of the warnings, see :mod:`espnet_stnas.certainty`.

    Args:
        space: The search space.
        history: The architectures of all epochs, in order.
        path: PNG or SVG file to write, whole or not at all.

    Raises:
        ValueError: If there is no epoch.
    """
    if not history:
        raise ValueError("no epoch to draw")
    figure = new_figure(7.4, 4.0)
    axes = figure.subplots(1, 2, sharex=True)
    numbers = [index + 1 for index in space.choice_layers]
    for axis, title, value in (
        (axes[0], "relative entropy", relative_entropy),
        (axes[1], "margin", margin),
    ):
        epochs = _draw_epochs(axis, history)
        for index, number in enumerate(numbers):
            axis.plot(
                epochs,
                [value(a.provenance["probabilities"][index].values()) for a in history],
                color=_COLOURS[index % len(_COLOURS)],
                # More layers than colours differ in their markers.
                marker=_MARKERS[index // len(_COLOURS) % len(_MARKERS)],
                markersize=4,
                label=f"layer {number}",
            )
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
    for limit in (UNMOVED, COLLAPSED):
        axes[0].axhline(limit, color="0.3", linestyle=":", zorder=1)
    _add_legend(figure, axes, "choices (grey: warm-up)")
    save_figure(figure, path)


def _is_warmup(architecture: Architecture) -> bool:
    return architecture.provenance.get("phase") == "warm-up"


def _add_legend(figure: Figure, axes: Sequence[Axes], title: str) -> None:
    """One legend above all panels, with every label once."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside upper center",
        ncols=min(len(handles), 4),
        frameon=False,
        title=title,
    )


def save_architecture(architecture: Architecture, path: PathLike) -> None:
    """Draw an architecture as a chain of layers.

    Each box gives the operation, its output width, the input frames per output frame
    and the receptive field in input frames; boxes that the search chose are coloured.

    Args:
        architecture: The architecture.
        path: PNG or SVG file to write, whole or not at all.
    """
    rows = layer_table(architecture)
    figure = new_figure(6.4, 0.62 * len(rows) + 1.2)
    axis = figure.add_subplot()
    axis.set_axis_off()
    axis.set_xlim(0, 1)
    axis.set_ylim(-len(rows) - 0.1, 0.9)
    axis.text(0.02, 0.35, "input", va="center", fontsize=11)
    for y, row in enumerate(rows):
        _draw_layer(axis, -y - 0.5, row)
    save_figure(figure, path)


def _draw_layer(axis: Axes, y: float, row: dict[str, Any]) -> None:
    from matplotlib.patches import FancyBboxPatch

    axis.add_patch(
        FancyBboxPatch(
            (0.02, y - 0.28),
            0.3,
            0.56,
            boxstyle="round,pad=0.0,rounding_size=0.04",
            facecolor="#CFE5F3" if row["searched"] else "#EEEEEE",
            edgecolor="0.3",
        )
    )
    axis.annotate(
        "",
        (0.17, y + 0.28),
        (0.17, y + 0.74),
        arrowprops={"arrowstyle": "->", "color": "0.2"},
    )
    axis.text(0.17, y, row["op"], ha="center", va="center", fontsize=11)
    details = f"{row['width']}  |  1 frame in {row['rate']}  |  sees {row['seen']}"
    if row["searched"] and row["probability"] is not None:
        details += f"  |  probability {row['probability']:.2f}"
    axis.text(0.36, y, details, va="center", fontsize=9, color="0.15")


def layer_table(architecture: Architecture) -> list[dict[str, Any]]:
    """The layers with width, rate and receptive field, in input frames.

    Widths are those of the notation; an operation that keeps its input's width says
    "width of its input".
    """
    space = architecture.space
    rows, rate, left, right = [], 1, 0, 0
    for layer, pi in zip(space.layers, architecture.decisions(), strict=True):
        op = layer.candidates[0]
        left += op.reach[0] * rate
        right += op.reach[1] * rate
        rate *= op.stride
        own_width = op.output_width(-1, space.width)
        rows.append(
            {
                "op": str(op),
                "width": f"width {own_width}" if own_width > 0 else "keeps its width",
                "rate": rate,
                "field": left + right + 1,
                "seen": _seen(left, right),
                "searched": pi is not None,
                "probability": (pi or {}).get(str(op)),
            }
        )
    return rows


def _seen(left: int, right: int) -> str:
    """The receptive field in words, with frames to the left and right of a frame."""
    if max(left, right) < LARGEST:
        return f"{left + right + 1} frames"
    if right < LARGEST:
        return f"all frames before and {right} after"
    return "the whole utterance"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    # Not through pyplot: no global state, no display.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: PathLike) -> None:
    """Write a figure, whole or not at all, in the format of the file's suffix."""
    with writing(path):
        _save_whole(figure, Path(path))


def _save_whole(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    os.close(handle)
    try:
        # matplotlib draws less than 2^16 pixels to a side.
        dpi = min(150.0, 65_000 / max(figure.get_size_inches()))
        figure.savefig(temporary, dpi=dpi)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
