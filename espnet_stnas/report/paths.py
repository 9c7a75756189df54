"""The figure of drawn paths: how well the supernet does for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from espnet_stnas.report.chart import Chart, Panel
from espnet_stnas.report.drawing import LINE, curve_style, prepare, shade_warmup
from espnet_stnas.results.health import Health

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def paths_chart(health: Health, warmup_end: float) -> Optional[Chart]:
    """Draw the loss of drawn paths over the epochs; None without samples.

    Args:
        health: What the search measured.
        warmup_end: The last epoch of its warm-up.
    """
    samples = health.samples
    if not samples:
        return None
    x = [s.epoch for s in samples]
    alone = health.reference

    def draw(axis: Axes) -> None:
        prepare(axis, x[-1])
        shade_warmup(axis, warmup_end)
        look = curve_style(0, len(x))
        axis.plot(x, [s.loss for s in samples], label="drawn paths, mean", **look)
        ends = [s.loss - s.spread for s in samples]
        ends += [s.loss + s.spread for s in reversed(samples)]
        axis.fill(
            x + x[::-1],
            ends,
            color=look["color"],
            alpha=0.2,
            linewidth=0,
            label="their standard deviation",
        )
        if alone is not None:
            axis.axhline(
                alone.loss,
                color=LINE,
                linestyle=":",
                label=f"largest architecture after {alone.epoch} epochs alone",
            )
        axis.set_xlabel("epoch")
        axis.set_ylabel("validation loss with shared weights")

    last = samples[-1]
    alt = (
        f"Loss of drawn paths from {samples[0].loss:.4g} after epoch {x[0]} to "
        f"{last.loss:.4g} after epoch {x[-1]}, where they differ by {last.spread:.3g}."
    )
    return Chart([Panel(draw, alt)], "grey: warm-up" if warmup_end else "")
