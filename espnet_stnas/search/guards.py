"""Warns if choices of a search do not move, or decide too early."""

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
from espnet_stnas.search.warmup import Warmup


class Guard:
    """Logs doubts about a search, once for each choice and kind of doubt.

    One object serves a whole run: it reads the architectures of earlier epochs once, at
    its first epoch. ``warnings.yaml`` in the output directory stores the warnings, so
    that a resumed search neither repeats nor loses any.

    Args:
        space: The search space.
        options: Options of the search.
        warmup: Its warm-up.
    """

    def __init__(
        self, space: SearchSpace, options: SearchTrainerOptions, warmup: Warmup
    ) -> None:
        self._experiment = SearchExperiment(Path(options.output_dir), space)
        self._options = options
        self._warmup = warmup
        self._history: Optional[list[Architecture]] = None
        self._warnings: list[dict[str, Any]] = []

    def warn(self, epoch: int) -> None:
        """Log new doubts after an epoch.

        Args:
            epoch: The epoch that follows the epoch of the previous call. Its
                architecture file must exist.
        """
        path = self._experiment.path / "warnings.yaml"
        if self._history is None:
            self._history = []
            written = _read(path)
            # Warnings of this and of later epochs come from a run that was stopped, or
            # from an older search in the same directory.
            self._warnings = [entry for entry in written if entry["epoch"] < epoch]
            if self._warnings != written:
                write_text(path, dump_yaml({"warnings": self._warnings}))
            epochs = [n for n in self._experiment.epochs if n <= epoch]
        else:
            epochs = [epoch]
        self._history += self._architectures(epochs)
        known = {(entry["layer"], entry["kind"]) for entry in self._warnings}
        searching = max(0, self._options.max_epoch - self._warmup.last)
        plan = SearchPlan(self._options.estimator, searching)
        new = [
            doubt
            for doubt in doubts(self._history, plan)
            if (doubt.layer, doubt.kind) not in known
        ]
        for doubt in new:
            logging.warning(doubt.text)
            self._warnings.append({"epoch": epoch, **dataclasses.asdict(doubt)})
        if new:
            write_text(path, dump_yaml({"warnings": self._warnings}))

    def _architectures(self, epochs: Sequence[int]) -> Iterator[Architecture]:
        for number in epochs:
            if not self._warmup.includes(number):
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
        # The file is missing or damaged: better repeat a warning than stop.
        return []
