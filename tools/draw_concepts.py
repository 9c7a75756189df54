#!/usr/bin/env python3
"""Draw the figure of docs/concepts.md: warm-up, search and the derived network.

python3 tools/draw_concepts.py --output docs/figures/concepts.svg
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Optional

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch, Rectangle

# Okabe and Ito's colours, which differ for colour-blind readers, too. What they mean is
# also said by line styles.
BLUE, ORANGE, GREY, TEXT = "#0072B2", "#E69F00", "#8A8A8A", "#1A1A1A"
PALE_BLUE, PALE_ORANGE, PALE_GREY = "#D6E9F5", "#FDF0D5", "#F0F0F0"
STYLES = {
    "run": {"facecolor": PALE_BLUE, "edgecolor": BLUE, "linewidth": 2.2},
    "scored": {
        "facecolor": PALE_ORANGE,
        "edgecolor": ORANGE,
        "linewidth": 1.6,
        "linestyle": "--",
    },
    "idle": {"facecolor": "white", "edgecolor": GREY, "linewidth": 0.8},
    "fixed": {"facecolor": PALE_GREY, "edgecolor": TEXT, "linewidth": 1.0},
}
LEGEND = {
    "run": "runs: on the path",
    "scored": "runs for its score only, then dropped",
    "idle": "does not run",
    "fixed": "fixed layer",
}
NAMES = ("C1D1", "C2D1", "C2D2")
# From the input at the bottom upwards; None is the fixed layer.
PATHS = {"uniform": (0, 2, None, 1), "drawn": (1, 2, None, 0), "best": (1, 2, None, 2)}
SEARCHED = ((0.2, 0.7, 0.1), (0.1, 0.3, 0.6), None, (0.3, 0.2, 0.5))
EVEN = ((1 / 3,) * 3, (1 / 3,) * 3, None, (1 / 3,) * 3)
# Places: a candidate is WIDE x HIGH, rows are STEP apart.
WIDE, HIGH, GAP, STEP, FIRST = 1.0, 0.74, 0.2, 1.3, 1.2
MIDDLE = 1.5 * WIDE + GAP
TOP = FIRST + 4 * STEP - 0.12


def left_of(candidate: Optional[int]) -> float:
    """The left edge of a candidate, or of a box in the middle."""
    return MIDDLE - WIDE / 2 if candidate is None else candidate * (WIDE + GAP)


def box(axis: Any, x: float, y: float, text: str, style: str, **size: float) -> None:
    """One operation, with its name."""
    wide, high = size.get("wide", WIDE), size.get("high", HIGH)
    axis.add_patch(
        FancyBboxPatch(
            (x, y),
            wide,
            high,
            boxstyle="round,pad=0,rounding_size=0.1",
            **STYLES[style],
        )
    )
    lift = 0.0 if high < HIGH else 0.12
    place = (x + wide / 2, y + high / 2 + lift)
    axis.text(*place, text, ha="center", va="center", color=TEXT, fontsize=10)


def bar(axis: Any, x: float, y: float, probability: float) -> None:
    """The probability of a candidate, inside its box."""
    left, wide = x + 0.1, 0.42
    axis.add_patch(Rectangle((left, y + 0.13), wide, 0.1, color="#CFCFCF", lw=0))
    axis.add_patch(
        Rectangle((left, y + 0.13), wide * probability, 0.1, color=TEXT, lw=0)
    )
    text = f"{probability:.2f}".lstrip("0")
    axis.text(x + WIDE - 0.08, y + 0.18, text, ha="right", va="center", fontsize=8.5)


def arrow(axis: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Frames that flow from one operation to the next."""
    axis.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=11,
            color=BLUE,
            linewidth=1.8,
            shrinkA=1,
            shrinkB=1,
        )
    )


def panel(
    axis: Any,
    title: str,
    caption: str,
    path: Sequence[Optional[int]],
    probabilities: Optional[Sequence[Optional[Sequence[float]]]],
    others: str = "idle",
) -> None:
    """One phase: a network with the path that runs.

    Args:
        axis: Where to draw.
        title: The phase.
        caption: What learns in it.
        path: For each layer, the candidate that runs; None for the fixed one.
        probabilities: For each layer, those of its candidates; None for a network in
            which all choices are made.
        others: Style of the candidates that are not on the path.
    """
    axis.set_xlim(-0.45, 3 * WIDE + 2 * GAP + 0.45)
    axis.set_ylim(-1.05, TOP + 1.05)
    axis.set_aspect("equal")
    axis.axis("off")
    axis.text(
        MIDDLE,
        TOP + 0.85,
        title,
        ha="center",
        va="center",
        fontsize=12.5,
        color=TEXT,
        fontweight="bold",
    )
    axis.text(
        MIDDLE,
        -0.18,
        caption,
        ha="center",
        va="top",
        fontsize=9.5,
        color=TEXT,
        linespacing=1.35,
    )
    axis.text(MIDDLE, 0.42, "frames of speech", ha="center", va="center", fontsize=10)
    before = (MIDDLE, 0.6)
    for row, chosen in enumerate(path):
        y = FIRST + row * STEP
        if probabilities is not None and chosen is not None:
            axis.add_patch(
                Rectangle(
                    (-0.14, y - 0.14),
                    3 * WIDE + 2 * GAP + 0.28,
                    HIGH + 0.28,
                    facecolor="none",
                    edgecolor=GREY,
                    linewidth=0.7,
                    linestyle=":",
                )
            )
            number = sum(c is not None for c in path[: row + 1])
            axis.text(
                -0.3,
                y + HIGH / 2,
                f"choice {number}",
                ha="center",
                va="center",
                rotation=90,
                fontsize=9,
                color=TEXT,
            )
            for candidate, name in enumerate(NAMES):
                style = "run" if candidate == chosen else others
                box(axis, left_of(candidate), y, name, style)
                bar(axis, left_of(candidate), y, probabilities[row][candidate])  # type: ignore[index]
            x = left_of(chosen)
        else:
            x = MIDDLE - WIDE / 2
            name = "C1S3D1" if chosen is None else NAMES[chosen]
            style = "fixed" if chosen is None else "run"
            box(axis, x, y + 0.1, name, style, high=HIGH - 0.2)
        inset = 0.1 if probabilities is None or chosen is None else 0.0
        arrow(axis, before, (x + WIDE / 2, y + inset))
        before = (x + WIDE / 2, y + HIGH - inset)
    arrow(axis, before, (MIDDLE, TOP + 0.2))
    axis.text(
        MIDDLE, TOP + 0.36, "decoder, loss", ha="center", va="center", fontsize=10
    )


def draw() -> Any:
    """The figure."""
    figure, axes = plt.subplots(1, 3, figsize=(10.4, 6.9))
    panel(
        axes[0],
        "1  Warm-up",
        "Paths are drawn uniformly.\nWeights of the drawn operations learn;\n"
        "all logits stay 0.",
        PATHS["uniform"],
        EVEN,
    )
    panel(
        axes[1],
        "2  Search: architecture step",
        "A path is drawn from the probabilities.\nLogits learn from the scores of all\n"
        "candidates. (Weight steps: as in 1,\nbut drawn from the probabilities.)",
        PATHS["drawn"],
        SEARCHED,
        others="scored",
    )
    panel(
        axes[2],
        "3  Derive and retrain",
        "The most probable candidate of every\nchoice makes a plain encoder.\n"
        "It is trained from scratch.",
        PATHS["best"],
        None,
    )
    handles = [Patch(label=label, **STYLES[kind]) for kind, label in LEGEND.items()]
    handles.append(Patch(label="probability", facecolor=TEXT, linewidth=0))
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=5,
        frameon=False,
        fontsize=9.5,
        handlelength=1.8,
        handleheight=1.2,
        columnspacing=1.5,
    )
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.075, wspace=0.06)
    return figure


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Draw the figure into a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="docs/figures/concepts.svg")
    args = parser.parse_args(cmd)
    # The same file on every day.
    with matplotlib.rc_context(
        {"svg.hashsalt": "concepts", "font.family": "DejaVu Sans"}
    ):
        figure = draw()
        metadata = {"Date": None} if args.output.endswith(".svg") else None
        figure.savefig(args.output, metadata=metadata, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
