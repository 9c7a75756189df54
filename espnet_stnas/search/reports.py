"""Reports of a search: its logits after each epoch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Optional

import torch
from espnet2.train.reporter import SubReporter, aggregate

from espnet_stnas.cost.goal import CostTerm
from espnet_stnas.files import PathLike
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import margin
from espnet_stnas.results.curves import CurvePoint, write_point
from espnet_stnas.results.experiment import ARCHITECTURES
from espnet_stnas.results.provenance import search_provenance
from espnet_stnas.search.cost import cost_report, found_cost, input_size
from espnet_stnas.search.iterators import Batch
from espnet_stnas.search.state import SearchRun
from espnet_stnas.supernet.supernet import Supernet


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
    return found_architecture(
        run.supernet,
        run.cost,
        epoch=epoch,
        seed=run.options.seed,
        searching=run.is_searching(epoch),
    )


def found_architecture(
    supernet: Supernet,
    cost: Optional[CostTerm],
    *,
    epoch: int,
    seed: int,
    searching: bool,
) -> Architecture:
    """Return the most probable architecture of a supernet, with its provenance.

    Args:
        supernet: The supernet.
        cost: The cost term of the search, or None.
        epoch: Number of finished epochs.
        seed: Seed of the search.
        searching: Whether the logits learned in this epoch (not in warm-up).
    """
    provenance = search_provenance(
        supernet.space,
        [pi.tolist() for pi in supernet.probabilities()],
        epoch=epoch,
        seed=seed,
        searching=searching,
        input_size=input_size(supernet),
        cost=found_cost(supernet, cost),
    )
    return Architecture(supernet.architecture(), provenance)


def write_epoch(run: SearchRun, reporter: SubReporter) -> None:
    """Write ``architectures/<epoch>epoch.yaml`` and the last curve point of an epoch.

    Args:
        run: The search.
        reporter: Reporter of the validation.
    """
    losses = reporter.stats.get("loss")
    write_found(
        run.options.output_dir,
        epoch_architecture(run, reporter.get_epoch()),
        run.supernet,
        run.cost,
        valid_loss=float(aggregate(list(losses))) if losses else None,
        seconds=time.perf_counter() - run.epoch_started,
    )


def write_found(
    output_dir: PathLike,
    found: Architecture,
    supernet: Supernet,
    cost: Optional[CostTerm],
    *,
    valid_loss: Optional[float],
    seconds: float,
) -> None:
    """Write the architecture of an epoch, then the last curve point of the epoch.

    Whoever finds the point without the file knows that the file was lost.

    Args:
        output_dir: Directory of the search.
        found: The architecture of :func:`found_architecture`.
        supernet: The supernet that it comes from.
        cost: The cost term of the search, or None.
        valid_loss: Loss on the validation data, if known.
        seconds: Duration of the epoch.
    """
    epoch = found.provenance.epoch
    assert epoch is not None
    found.write(Path(output_dir) / ARCHITECTURES / f"{epoch}epoch.yaml")
    point = CurvePoint(
        epoch=epoch,
        step=1,
        steps=1,
        warmup=found.provenance.in_warmup,
        valid_loss=valid_loss,
        seconds=round(seconds, 3),
        probabilities=tuple(tuple(pi.tolist()) for pi in supernet.probabilities()),
        **cost_report(supernet, cost),
    )
    write_point(output_dir, point)


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
