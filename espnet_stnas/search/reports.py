"""What a search reports of its logits after each epoch, and of its start."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Optional

import torch
from espnet2.train.reporter import SubReporter, aggregate

from espnet_stnas.cost.goal import CostTerm
from espnet_stnas.cost.latency import device_name
from espnet_stnas.files import PathLike
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import margin
from espnet_stnas.results.curves import CurvePoint, note_run, write_point
from espnet_stnas.results.provenance import search_provenance
from espnet_stnas.search.cost import cost_report, found_cost, input_size
from espnet_stnas.search.iterators import Batch
from espnet_stnas.search.options import SearchTrainerOptions
from espnet_stnas.supernet.supernet import Supernet


def epoch_report(supernet: Supernet, cost: Optional[CostTerm]) -> dict[str, float]:
    """Of every choice, probabilities, entropy in nats and margin, by layer number.

    Args:
        supernet: The supernet.
        cost: The cost term, if costs are to be reported, too.
    """
    report = {}
    entropies, margins = [], []
    space = supernet.space
    for index, choice, pi in zip(
        space.first_layers, space.choices, supernet.probabilities(), strict=True
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
    return {**report, **cost_report(supernet, cost)}


def write_epoch(
    supernet: Supernet,
    cost: Optional[CostTerm],
    *,
    epoch: int,
    seed: int,
    searching: bool,
    output_dir: PathLike,
) -> None:
    """Write ``architectures/<epoch>epoch.yaml``, the arg-max architecture so far.

    Args:
        supernet: The supernet.
        cost: The cost term, if there is one.
        epoch: Finished epochs.
        seed: Seed of the search.
        searching: Whether the logits were trained in this epoch.
        output_dir: That of the search.
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
    Architecture(supernet.architecture(), provenance).write(
        Path(output_dir) / "architectures" / f"{epoch}epoch.yaml"
    )


def write_validation(
    supernet: Supernet,
    cost: Optional[CostTerm],
    reporter: SubReporter,
    options: SearchTrainerOptions,
) -> None:
    """Add the end of an epoch to its curves.

    Args:
        supernet: The supernet.
        cost: The cost term, if there is one.
        reporter: That of the validation.
        options: Options of the search.
    """
    epoch = reporter.get_epoch()
    losses = reporter.stats.get("loss")
    point = CurvePoint(
        epoch=epoch,
        step=1,
        steps=1,
        warmup=epoch <= options.warmup_epochs,
        valid_loss=float(aggregate(list(losses))) if losses else None,
        probabilities=tuple(tuple(pi.tolist()) for pi in supernet.probabilities()),
        **cost_report(supernet, cost),
    )
    write_point(options.output_dir, point)


def note_start(options: SearchTrainerOptions) -> None:
    """Note the command that starts or continues a search, and on what it runs."""
    command = list(sys.orig_argv)
    if "multiprocessing" in " ".join(command[:4]):
        # A process that ESPnet started for a GPU: it has its arguments alone.
        command = [command[0], *sys.argv]
    note_run(
        options.output_dir,
        started=datetime.now().isoformat(sep=" ", timespec="seconds"),
        device=device_name(torch.device("cuda" if options.ngpu > 0 else "cpu")),
        command=command,
    )


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
