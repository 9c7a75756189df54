"""Assigns costs and searches to trained encoders."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Optional

from espnet_stnas.cost.counts import macs_table
from espnet_stnas.cost.latency_table import LatencyTable
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.summary import Summary
from espnet_stnas.report.tradeoff import Point, Points
from espnet_stnas.report.trainings import Training


def points_of(
    summaries: Sequence[Summary],
    trainings: Sequence[Training],
    *,
    metric: str = "wer",
    frames: int = 1000,
    latency_table: Optional[PathLike] = None,
) -> Points:
    """Return errors and costs by test set and kind of cost.

    A test set and kind of cost that only one training has is omitted.

    Args:
        summaries: Searches. If the architecture of a training occurred in one of them
            after its warm-up, the point gets the cost weight of that search.
        trainings: Trained encoders; those with unknown cost are omitted.
        metric: ``wer`` or ``cer``.
        frames: Length of the utterance for multiply-accumulates.
        latency_table: File of latencies, measured for the space of a search.

    Raises:
        ConfigError: If the table is damaged, or does not belong to any of the searches.
    """
    table = None if latency_table is None else LatencyTable.read(latency_table)
    if table is not None and all(table.space != s.space.digest for s in summaries):
        raise ConfigError(
            f"latency table {latency_table} is of another search space than the "
            "searches; accepted is one that was measured for one of them"
        )
    searched = [_searched(summary) for summary in summaries]
    found: Points = {}
    for training in trainings:
        search = _search_of(training, summaries, searched)
        costs = _costs(training, summaries, frames, table, latency_table or "")
        for score in training.scores:
            rate = getattr(score, metric)
            for kind, cost in costs.items() if rate is not None else ():
                target = None
                if search is not None and search.cost_kind == kind:
                    target = search.cost_target
                weight = None if search is None else search.cost_weight
                found.setdefault((score.test, kind), []).append(
                    Point(training.name, cost, rate, weight, target)
                )
    return {key: points for key, points in found.items() if len(points) > 1}


def _searched(summary: Summary) -> list[SearchSpace]:
    """Return the architectures of the epochs in which the logits learned."""
    found = [summary.architecture.space]
    for epoch in summary.experiment.epochs:
        with suppress(ConfigError):  # warm-up
            found.append(summary.experiment.searched(epoch).space)
    return found


def _search_of(
    training: Training,
    summaries: Sequence[Summary],
    searched: Sequence[Sequence[SearchSpace]],
) -> Optional[Summary]:
    """Return the search that had this architecture; of several, the nearest one."""
    place = os.path.abspath(training.path)
    candidates = [
        summary
        for summary, spaces in zip(summaries, searched, strict=True)
        if training.space in spaces
    ]

    def shared(summary: Summary) -> int:
        return len(
            os.path.commonpath([place, os.path.abspath(summary.experiment.path)])
        )

    return max(candidates, key=shared, default=None)


def _costs(
    training: Training,
    summaries: Sequence[Summary],
    frames: int,
    table: Optional[LatencyTable],
    name: PathLike,
) -> Mapping[str, float]:
    """Return the known costs by kind."""
    if training.sizes is None:
        return {}
    costs: dict[str, float] = {"params": training.sizes.encoder}
    space = training.space
    if space is None or not space.is_architecture:
        return costs
    size = training.sizes.input_size
    costs["macs"] = macs_table(space, size, frames).fixed
    for summary in summaries:
        if table is not None and table.space == summary.space.digest:
            with suppress(ConfigError):  # an architecture of another space
                path = summary.space.index(space)
                costs["latency"] = table.costs(summary.space, size, name).of(path)
    return costs
