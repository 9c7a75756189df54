"""The figure of drawn paths: how well the supernet does for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from espnet_stnas.report.drawing import add_legend, new_figure, shade_warmup, style
from espnet_stnas.results.health import Health

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def paths_figure(health: Health, warmup_end: float) -> Optional[Figure]:
    """Draw the loss of drawn paths over the epochs; None without samples.

    Args:
        health: What the search measured.
        warmup_end: The last epoch of its warm-up.
    """
    samples = health.samples
    if not samples:
        return None
    figure = new_figure(6.4, 3.4)
    axis = figure.subplots()
    shade_warmup(axis, warmup_end)
    x = [s.epoch for s in samples]
    marker = "o" if len(x) == 1 else None
    axis.plot(
        x,
        [s.loss for s in samples],
        label="drawn paths, mean and spread",
        marker=marker,
        **style(0),
    )
    axis.fill_between(
        x,
        [s.loss - s.spread for s in samples],
        [s.loss + s.spread for s in samples],
        color=style(0)["color"],
        alpha=0.2,
    )
    alone = health.reference
    if alone is not None:
        axis.axhline(
            alone.loss,
            color="0.3",
            linestyle=":",
            label=f"largest architecture after {alone.epoch} epochs alone",
        )
    axis.set_xlabel("epoch")
    axis.set_ylabel("validation loss with shared weights")
    add_legend(figure, [axis], "" if not warmup_end else "grey: warm-up")
    return figure
