"""Architectures that were evaluated with shared weights: figure and table. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Optional

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.chart import Chart, Panel, Spot
from espnet_stnas.report.drawing import COLOURS, add_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Rows of the table, and points that a page can hold.
_ROWS = 10
_POINTS = 5000


@dataclass(frozen=True)
class EvaluatedPoint:
    """An architecture and its result with the shared weights.

    Args:
        path: Its candidate indices, one per choice.
        loss: Its loss.
        error_rate: Its share of wrong tokens, if the model counts them.
        parameters: Parameters of its encoder, if known.
    """

    path: tuple[int, ...]
    loss: float
    error_rate: Optional[float] = None
    parameters: Optional[int] = None


@dataclass(frozen=True)
class Evaluated:
    """All architectures that were evaluated under the same conditions.

    Args:
        points: The architectures, the best first; those without a finite loss last.
        space: The search space.
        epoch: Epoch of the shared weights.
        data: Name of the data set.
        chosen: The architecture that the report is about.
        front: The Pareto front, ordered by size: no architecture that is as small as
            one of these, or smaller, has a lower loss.
    """

    points: tuple[EvaluatedPoint, ...]
    space: SearchSpace
    epoch: int
    data: str
    chosen: tuple[int, ...]
    front: tuple[EvaluatedPoint, ...]

    @classmethod
    def of(
        cls,
        points: Sequence[EvaluatedPoint],
        space: SearchSpace,
        epoch: int,
        data: str,
        chosen: tuple[int, ...],
    ) -> Evaluated:
        """Order the architectures, and find their Pareto front.

        Args:
            points: The architectures, in any order.
            space: The search space.
            epoch: Epoch of the shared weights.
            data: Name of the data set.
            chosen: The architecture that the report is about.
        """
        order = sorted(
            points,
            key=lambda p: (p.loss if math.isfinite(p.loss) else math.inf, p.path),
        )
        front: list[EvaluatedPoint] = []
        sized = [p for p in order if p.parameters is not None]
        for p in sorted(sized, key=lambda p: p.parameters or 0):
            if math.isfinite(p.loss) and (not front or p.loss < front[-1].loss):
                front.append(p)
        return cls(tuple(order), space, epoch, data, chosen, tuple(front))

    @property
    def has_errors(self) -> bool:
        """Whether token errors were counted."""
        return any(p.error_rate is not None for p in self.points)

    @property
    def best(self) -> list[tuple[int, EvaluatedPoint, str]]:
        """Rank, architecture and note of the best ones, and of the chosen one."""
        ranked = list(enumerate(self.points, start=1))
        shown = [r for r in ranked if r[0] <= _ROWS or r[1].path == self.chosen]
        return [
            (
                rank,
                p,
                ", ".join(
                    ["chosen"] * (p.path == self.chosen)
                    + ["Pareto front"] * (p in self.front)
                ),
            )
            for rank, p in shown
        ]

    @property
    def sentence(self) -> str:
        """What the evaluations say of the chosen architecture."""
        count = len(self.points)
        text = (
            f"{count:,} of {self.space.num_architectures:,} architectures were "
            f"evaluated with the shared weights of epoch {self.epoch} on the data set "
            f"'{self.data}'"
        )
        found = [n for n, p in enumerate(self.points) if p.path == self.chosen]
        if not found:
            return f"{text}; the architecture above is not among them."
        own = self.points[found[0]]
        text += (
            f": by its loss of {own.loss:.4g}, the architecture above is number "
            f"{found[0] + 1:,} of all"
        )
        if own.parameters is None:
            return f"{text}."
        small = [p for p in self.points if (p.parameters or 0) <= own.parameters]
        return (
            f"{text}, and number {small.index(own) + 1:,} of the {len(small):,} that "
            f"have no more than its {own.parameters:,} parameters."
        )

    def name_of(self, point: EvaluatedPoint) -> str:
        """Return the chosen candidates of an architecture, in order."""
        chosen = zip(self.space.choices, point.path, strict=True)
        return " ".join(str(choice.candidates[k]) for choice, k in chosen)

    @property
    def drawn(self) -> list[EvaluatedPoint]:
        """The architectures of the figure: all, or if they are many, some of them."""
        points = [
            p for p in self.points if p.parameters is not None and math.isfinite(p.loss)
        ]
        if len(points) <= _POINTS:
            return points
        kept = {p.path for p in self.front} | {self.chosen}
        step = len(points) / _POINTS
        kept |= {points[int(n * step)].path for n in range(_POINTS)}
        return [p for p in points if p.path in kept]


def evaluated_chart(evaluated: Evaluated) -> Optional[Chart]:
    """Draw losses against parameters; None if the parameters are not known.

    Args:
        evaluated: The architectures.
    """
    points = evaluated.drawn
    if not points:
        return None
    spots = [Spot(p.parameters or 0, p.loss, _words(evaluated, p)) for p in points]
    best = evaluated.points[0]
    alt = (
        f"Losses of {len(points):,} architectures against parameters. The lowest is "
        f"{best.loss:.4g} of {evaluated.name_of(best)}, with {best.parameters:,}."
    )
    panel = Panel(partial(_draw, evaluated, points), alt, spots)
    return Chart([panel], size=(6.4, 4.2))


def _words(evaluated: Evaluated, point: EvaluatedPoint) -> str:
    text = (
        f"{evaluated.name_of(point)}\n"
        f"{point.parameters:,} parameters, loss {point.loss:.5g}"
    )
    if point.error_rate is not None:
        text += f"\ntoken errors {100 * point.error_rate:.2f} %"
    return text


def _draw(evaluated: Evaluated, points: Sequence[EvaluatedPoint], axis: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.plot(
        [p.parameters or 0 for p in points],
        [p.loss for p in points],
        color=COLOURS[7],
        linestyle="",
        marker="o",
        markersize=3,
        markeredgewidth=0,
        label="evaluated",
        # One picture in a page, instead of thousands of shapes.
        rasterized=True,
    )
    axis.plot(
        [p.parameters or 0 for p in evaluated.front],
        [p.loss for p in evaluated.front],
        color=COLOURS[0],
        marker="o",
        markersize=4,
        drawstyle="steps-post",
        label="Pareto front",
    )
    for p in points:
        if p.path == evaluated.chosen:
            axis.plot(
                [p.parameters or 0],
                [p.loss],
                color=COLOURS[1],
                marker="D",
                linestyle="",
                label="chosen",
            )
    axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_xlabel("parameters of the encoder")
    axis.set_ylabel(f"loss on '{evaluated.data}' with shared weights")
    add_grid(axis)
