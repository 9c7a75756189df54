"""Reports of a search: its logits after each epoch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from espnet2.train.reporter import SubReporter, aggregate

from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import margin
from espnet_stnas.results.curves import CurvePoint, write_point
from espnet_stnas.results.experiment import ARCHITECTURES
from espnet_stnas.results.provenance import search_provenance
from espnet_stnas.search.cost import cost_report, found_cost, input_size
from espnet_stnas.search.iterators import Batch
from espnet_stnas.search.state import SearchRun


def epoch_report(run: SearchRun) -> dict[str, float]:
    """Return probabilities, entropy (nats) and margin by layer number."""
    report = {}
    entropies, margins = [], []
    space = run.supernet.space
    for index, choice, pi in zip(
        space.first_layers, space.choices, run.supernet.probabilities(), strict=True
    ):
        number = index + 1
        for op, p in zip(choice.candidates, pi.tolist(), strict=True):
            report[f"prob{number:02d}_{op}"] = p
        entropies.append(float(torch.special.entr(pi).sum()))
        report[f"entropy{number:02d}"] = entropies[-1]
        margins.append(margin(pi.tolist()))
        report[f"margin{number:02d}"] = margins[-1]
    report["entropy"] = sum(entropies) / len(entropies)
    report["margin"] = sum(margins) / len(margins)
    return {**report, **cost_report(run.supernet, run.cost)}


def epoch_architecture(run: SearchRun, epoch: int) -> Architecture:
    """Return the most probable architecture, with its provenance.

    Args:
        run: The search.
        epoch: Number of finished epochs.
    """
    supernet = run.supernet
    provenance = search_provenance(
        supernet.space,
        [pi.tolist() for pi in supernet.probabilities()],
        epoch=epoch,
        seed=run.options.seed,
        searching=run.is_searching(epoch),
        input_size=input_size(supernet),
        cost=found_cost(supernet, run.cost),
    )
    return Architecture(supernet.architecture(), provenance)


def write_epoch(run: SearchRun, reporter: SubReporter) -> None:
    """Write ``architectures/<epoch>epoch.yaml`` and the last curve point of an epoch.

    Whoever finds the point without the file knows that the file was lost.

    Args:
        run: The search.
        reporter: Reporter of the validation.
    """
    epoch = reporter.get_epoch()
    losses = reporter.stats.get("loss")
    point = CurvePoint(
        epoch=epoch,
        step=1,
        steps=1,
        warmup=not run.is_searching(epoch),
        valid_loss=float(aggregate(list(losses))) if losses else None,
        seconds=round(time.perf_counter() - run.epoch_started, 3),
        probabilities=tuple(tuple(pi.tolist()) for pi in run.supernet.probabilities()),
        **cost_report(run.supernet, run.cost),
    )
    epoch_architecture(run, epoch).write(
        Path(run.options.output_dir) / ARCHITECTURES / f"{epoch}epoch.yaml"
    )
    write_point(run.options.output_dir, point)


def reporting(
    iterator: Iterable[Batch], reporter: SubReporter, report: dict[str, float]
) -> Iterator[Batch]:
    """Register the same report with each batch, so that its mean is its value.

    Args:
        iterator: The batches.
        reporter: ESPnet's reporter of the epoch.
        report: Values by the names of their curves.
    """
    for batch in iterator:
        reporter.register(report)
        yield batch
