"""Warnings of a search that does not move, or decides too soon."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import SearchPlan, doubts
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.search.options import SearchTrainerOptions


class Guard:
    """Logs what becomes doubtful in a search, once for each choice and kind of doubt.

    It lives for a run: architectures of epochs before it are read once, at its first
    epoch. ``warnings.yaml`` in the output directory keeps what has been said, so that
    a resumed search neither repeats nor forgets any of it.

    Args:
        space: The search space.
        options: Options of the search.
    """

    def __init__(self, space: SearchSpace, options: SearchTrainerOptions) -> None:
        self._experiment = SearchExperiment(Path(options.output_dir), space)
        self._plan = SearchPlan(
            options.estimator, max(0, options.max_epoch - options.warmup_epochs)
        )
        self._warmup = options.warmup_epochs
        self._history: Optional[list[Architecture]] = None
        self._said: list[dict[str, Any]] = []

    def warn(self, epoch: int) -> None:
        """Log what became doubtful in an epoch.

        Args:
            epoch: The epoch, the one after that of the last call; its architecture
                file is there.
        """
        path = self._experiment.path / "warnings.yaml"
        if self._history is None:
            self._history = []
            written = _read(path)
            # Those of this epoch and later ones are of a run that was stopped, or of
            # an older search in the same place.
            self._said = [entry for entry in written if entry["epoch"] < epoch]
            if self._said != written:
                write_text(path, dump_yaml({"warnings": self._said}))
            epochs = [n for n in self._experiment.epochs if n <= epoch]
        else:
            epochs = [epoch]
        self._history += self._architectures(epochs)
        known = {(entry["layer"], entry["kind"]) for entry in self._said}
        new = [
            doubt
            for doubt in doubts(self._history, self._plan)
            if (doubt.layer, doubt.kind) not in known
        ]
        for doubt in new:
            logging.warning(doubt.text)
            self._said.append({"epoch": epoch, **dataclasses.asdict(doubt)})
        if new:
            write_text(path, dump_yaml({"warnings": self._said}))

    def _architectures(self, epochs: Sequence[int]) -> Iterator[Architecture]:
        for number in epochs:
            if number > self._warmup:
                try:
                    yield self._experiment.architecture(number)
                except ConfigError:
                    # A damaged file of an earlier epoch must not stop a search.
                    continue


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
