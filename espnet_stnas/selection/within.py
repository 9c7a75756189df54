"""The most probable architecture within the budgets of ``stnas derive``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from espnet_stnas.cost.budget import Budget, costs_of, excesses
from espnet_stnas.files import PathLike
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.selection.limits import Limit, Measures
from espnet_stnas.selection.probable import log_probabilities
from espnet_stnas.selection.select import Selector
from espnet_stnas.selection.write import selected


def within_budgets(
    space: SearchSpace,
    best: Architecture,
    budgets: Sequence[Budget],
    *,
    input_size: Optional[int] = None,
    frames: Optional[int] = None,
    latency_table: Optional[PathLike] = None,
    frame_shift: Optional[float] = None,
) -> Architecture:
    """Return the most probable architecture of an epoch that keeps budgets.

    Args:
        space: The search space.
        best: The most probable architecture of the epoch.
        budgets: The budgets.
        input_size: Dimensions of an input frame; None: those of the search.
        frames: Length of the utterance for multiply-accumulates; None: that of the
            search.
        latency_table: File of latencies; needed if ``best`` is too slow.
        frame_shift: Milliseconds from one input frame to the next; None: 10, or as the
            search had it.

    Returns:
        ``best`` itself, if it keeps the budgets.

    Raises:
        ConfigError: If a cost is not known, or no architecture keeps the budgets.
    """
    costs = costs_of(
        best,
        input_size=input_size,
        frames=frames,
        table=latency_table,
        frame_shift=frame_shift,
    )
    if not excesses(costs, budgets):
        return best
    found = best.provenance.cost
    if frames is None and found is not None and found.kind == "macs":
        frames = found.frames
    if frame_shift is None and found is not None:
        frame_shift = found.frame_shift
    known = best.provenance.input_size if input_size is None else input_size
    measures = Measures(
        space,
        known,
        frames=frames,
        latency_table=latency_table,
        frame_shift=frame_shift,
    )
    limits = [Limit(measures[b.kind], b.most, b.name) for b in budgets]
    pi = [list(choice.values()) for choice in best.provenance.probabilities]
    reported = {limit.measure.kind: limit.measure for limit in limits}
    if found is not None and found.kind != "latency" and known is not None:
        reported.setdefault(found.kind, measures[found.kind])
    selector = Selector(space, log_probabilities(pi), limits, list(reported.values()))
    how = {"by": "probability", "max": {b.kind: b.most for b in budgets}}
    return selected(selector.by_probability(1)[0], space, best.provenance, how)
