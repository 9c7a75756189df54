"""Warnings of a search that does not move, or decides too soon."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import SearchPlan, doubts
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.search.options import SearchTrainerOptions


def warn(space: SearchSpace, epoch: int, options: SearchTrainerOptions) -> None:
    """Log what became doubtful in an epoch, once for each choice and kind of doubt.

    ``warnings.yaml`` in the output directory keeps what has been said, so that a
    resumed search neither repeats nor forgets any of it.

    Args:
        space: The search space.
        epoch: The epoch; its architecture file is there.
        options: Options of the search.
    """
    path = Path(options.output_dir) / "warnings.yaml"
    # Those of this epoch and later ones are of a run that was stopped, or of an older
    # search in the same place.
    said = [entry for entry in _read(path) if entry["epoch"] < epoch]
    known = {(entry["layer"], entry["kind"]) for entry in said}
    plan = SearchPlan(
        options.estimator, max(0, options.max_epoch - options.warmup_epochs)
    )
    for doubt in doubts(_history(space, epoch, options), plan):
        if (doubt.layer, doubt.kind) not in known:
            logging.warning(doubt.text)
            said.append({"epoch": epoch, **dataclasses.asdict(doubt)})
    if said != _read(path):
        write_text(path, dump_yaml({"warnings": said}))


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        entries = read_yaml_mapping(path, "file")["warnings"]
        return [
            {"epoch": int(e["epoch"]), **{k: e[k] for k in ("layer", "kind", "text")}}
            for e in entries
        ]
    except (ConfigError, KeyError, TypeError, ValueError):
        # Not there, or damaged: it is better to say something twice than to stop.
        return []


def _history(
    space: SearchSpace, epoch: int, options: SearchTrainerOptions
) -> list[Architecture]:
    experiment = SearchExperiment(Path(options.output_dir), space)
    history = []
    for number in experiment.epochs:
        if options.warmup_epochs < number <= epoch:
            try:
                history.append(experiment.architecture(number))
            except ConfigError:
                # A damaged file of an earlier epoch must not stop a search either.
                continue
    return history
