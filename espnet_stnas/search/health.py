"""Measures drawn paths on validation utterances after the epochs of a search."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional

import torch
from espnet2.torch_utils.device_funcs import to_device
from scipy.stats import kendalltau

from espnet_stnas.estimators import build_estimator
from espnet_stnas.estimators.base import Gate
from espnet_stnas.results.health import Sample, summarise, write_health
from espnet_stnas.search.iterators import Batch
from espnet_stnas.search.reference import begin_anew, drop_first_weights
from espnet_stnas.search.state import SearchRun
from espnet_stnas.supernet.paths import evaluation_mode
from espnet_stnas.supernet.supernet import path_generator

# Paths and utterances after most epochs, and after the last one. With 8 of 32 each, an
# epoch of half an hour of speech takes a tenth longer.
EACH_EPOCH = (8, 32)
LAST_EPOCH = (50, 256)


class KeptBatches:
    """Passes batches on, and keeps the first ones.

    Args:
        batches: Utterance ids and the data of the model.
        utterances: How many utterances to keep, at least; whole batches are kept.
    """

    def __init__(self, batches: Iterable[Batch], utterances: int) -> None:
        self.batches = batches
        self.most = utterances
        self.kept: list[Batch] = []

    def __iter__(self) -> Iterator[Batch]:
        """Yield all batches."""
        count = 0
        for names, data in self.batches:
            if count < self.most:
                # ESPnet adds a key to the dictionary.
                self.kept.append((names, dict(data)))
                count += len(names)
            yield names, data


def sample_size(run: SearchRun, epoch: int) -> tuple[int, int]:
    """Return how many paths and utterances are measured after an epoch."""
    paths, utterances = LAST_EPOCH if epoch == run.options.max_epoch else EACH_EPOCH
    ranks = torch.distributed.get_world_size() if run.distributed else 1
    return paths, math.ceil(utterances / ranks)


def measure(run: SearchRun, epoch: int, batches: Sequence[Batch], paths: int) -> None:
    """Measure paths, write ``supernet.yaml``, and end a warm-up that is ready.

    All ranks call this, each with its own utterances.

    Args:
        run: The search.
        epoch: The epoch that has ended.
        batches: Validation batches.
        paths: Number of paths to draw.
    """
    warmup, health = run.warmup, run.health.up_to(epoch - 1)
    batches = _of_all_ranks(run, batches)
    if warmup.is_reference(epoch):
        if epoch == warmup.reference:
            if batches:
                alone = _measured(run, epoch, [run.supernet.largest_path()], batches)
                health = replace(health, reference=alone)
            run.health = health
            _write(run)
            begin_anew(run)
        return
    drop_first_weights(run)
    ready = False
    if batches:
        sample = _measured(run, epoch, draw_paths(run, paths), batches)
        health, ready = health.with_sample(sample), health.ready(sample)
    if not warmup.decided and (ready or epoch >= warmup.last):
        if not ready:
            logging.warning(
                f"the warm-up ends with epoch {epoch}, though the supernet is not "
                "ready: " + "; ".join(health.findings()[1])
            )
        warmup.end(epoch)
        health = replace(health, warmup_end=epoch)
        logging.info(f"The warm-up ends with epoch {epoch}")
    run.health = health
    _write(run)
    if run.rank == 0 and epoch == run.options.max_epoch:
        good, bad = health.findings()
        for text in good:
            logging.info(text)
        for text in bad:
            logging.warning(text)


def draw_paths(run: SearchRun, count: int) -> list[tuple[int, ...]]:
    """Draw distinct paths uniformly, the same ones in every epoch."""
    uniform = build_estimator("uniform")
    draws = path_generator(run.options.seed, 1, 1, "health")
    wanted = min(count, run.supernet.space.num_architectures)
    found: dict[tuple[int, ...], None] = {}
    while len(found) < wanted:
        gates = run.supernet.weight_gates(uniform, draws)
        found[tuple(gate.active[0] for gate in gates)] = None
    return list(found)


def _measured(
    run: SearchRun,
    epoch: int,
    paths: Sequence[tuple[int, ...]],
    batches: Sequence[Batch],
) -> Sample:
    rows: list[list[list[float]]] = []
    with evaluation_mode(run.model):
        for path in paths:
            with run.supernet.routed([Gate((k,)) for k in path]):
                rows.append([_values(run, batch) for batch in batches])
    # (paths, batches, 5): loss, error and whether there is one, weight, utterances.
    table = torch.tensor(rows, dtype=torch.float64)
    if run.distributed:
        table = _over_ranks(table, run.device)
    weights = table[0, :, 3]
    losses = table[:, :, 0] / weights
    error: Optional[list[float]] = None
    if bool((table[:, :, 2] > 0).all()):
        error = (table[:, :, 1].sum(1) / table[:, :, 2].sum(1)).tolist()
    tau = None
    if not run.warmup.includes(epoch) and len(paths) > 2:
        pi = run.supernet.probabilities()
        surprise = [
            -sum(float(p[k].log()) for p, k in zip(pi, path, strict=True))
            for path in paths
        ]
        means = (losses * weights).sum(1) / weights.sum()
        found = kendalltau(surprise, means.tolist()).statistic
        tau = None if math.isnan(found) else float(found)
    utterances = round(float(table[0, :, 4].sum()))
    return summarise(epoch, losses.tolist(), weights.tolist(), utterances, error, tau)


def _values(run: SearchRun, batch: Batch) -> list[float]:
    """Return loss, error, whether there is one, each times weight; the weight."""
    names, data = batch
    result = run.model(**to_device({**data, "utt_id": names}, run.device))
    if isinstance(result, dict):
        loss, stats, weight = result["loss"], result["stats"], result["weight"]
    else:
        loss, stats, weight = result
    share = float(len(names) if weight is None else weight.sum())
    error = _error(stats)
    known = 0.0 if error is None else share
    return [
        float(loss.mean()) * share,
        (error or 0.0) * share,
        known,
        share,
        float(len(names)),
    ]


def _error(stats: Mapping[str, Any]) -> Optional[float]:
    """Return the share of wrong tokens that a model of ESPnet reports, if it does."""
    for key in ("cer_ctc", "cer"):
        if stats.get(key) is not None:
            return float(stats[key])
    accuracy = stats.get("acc")
    return None if accuracy is None else 1.0 - float(accuracy)


def _of_all_ranks(run: SearchRun, batches: Sequence[Batch]) -> Sequence[Batch]:
    """Return the batches that all ranks have a part of."""
    if not run.distributed:
        return batches
    count = torch.tensor(len(batches), device=run.device)
    torch.distributed.all_reduce(count, torch.distributed.ReduceOp.MIN)
    return batches[: int(count)]


def _over_ranks(table: torch.Tensor, device: str) -> torch.Tensor:
    """Sum (P, B, 5) over ranks."""
    table = table.to(device)
    torch.distributed.all_reduce(table)
    return table.cpu()


def _write(run: SearchRun) -> None:
    if run.rank == 0:
        write_health(run.options.output_dir, run.health)
