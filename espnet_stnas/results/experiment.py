"""Reads the directory of a search experiment. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_yaml_mapping
from espnet_stnas.messages import one_line, quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import SearchPlan
from espnet_stnas.results.curves import read_epoch
from espnet_stnas.results.health import read_health
from espnet_stnas.results.provenance import Provenance

ARCHITECTURES = "architectures"
FAILED = "failed.yaml"


@dataclass(frozen=True)
class SearchExperiment:
    """The output directory of a search.

    Args:
        path: The directory.
        space: The search space.
        plan: The plan of the search.
        task: The ESPnet task, such as ``asr``; None if config.yaml does not name it.

    >>> import tempfile
    >>> layers = "encoder_conf: {layers: [[tdnn, ff]]}"
    >>> yaml = "{encoder: stnas, warmup_epochs: 5, %s}" % layers
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "config.yaml").write_text(yaml)
    ...     experiment = SearchExperiment.open(folder)
    >>> experiment.space.num_architectures, experiment.epochs
    (2, ())
    """

    path: Path
    space: SearchSpace
    plan: SearchPlan = field(default_factory=SearchPlan)
    task: Optional[str] = None

    @classmethod
    def open(cls, path: PathLike) -> SearchExperiment:
        """Open the output directory of a search.

        Raises:
            ConfigError: If the path is not the output directory of a search.
        """
        path = Path(path)
        if not path.exists():
            raise ConfigError(f"{path} does not exist; accepted is a search experiment")
        if not path.is_dir():
            raise ConfigError(
                f"{path} is not a directory; accepted is the output_dir of a search "
                "(architectures are derived from the logits of single epochs, never "
                "from an averaged checkpoint)"
            )
        config = read_yaml_mapping(path / "config.yaml", "experiment config")
        if config.get("encoder") != "stnas" or "warmup_epochs" not in config:
            raise ConfigError(
                f"{path / 'config.yaml'} is not of a search (encoder "
                f"{quote(config.get('encoder'))}); accepted is the output_dir of "
                "stnas search"
            )
        try:
            space = SearchSpace.from_conf(config.get("encoder_conf") or {})
        except ConfigError as error:
            raise ConfigError(f"{path / 'config.yaml'}: {error}") from None
        task = config.get("task")
        known = isinstance(task, str) and task.isidentifier()
        return cls(path, space, _plan(path, config), task if known else None)

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs that have an architecture file, in order."""
        names = (
            re.fullmatch(r"(\d+)epoch\.yaml", file.name)
            for file in (self.path / ARCHITECTURES).glob("*epoch.yaml")
        )
        return tuple(sorted(int(match[1]) for match in names if match))

    @staticmethod
    def failure_in(path: PathLike) -> Optional[str]:
        """Return why the search in a directory failed.

        Returns:
            A sentence; None if it has not failed: it ended well, goes on, or was
            stopped.
        """
        file = Path(path) / FAILED
        if not file.exists():
            return None
        try:
            return one_line(read_yaml_mapping(file, "file")["reason"])
        except (ConfigError, KeyError):
            return f"{file} is damaged, so the reason is not known"

    def architecture(self, epoch: Optional[int] = None) -> Architecture:
        """Return the arg-max architecture of an epoch (default: the last one).

        Raises:
            ConfigError: If the epoch is missing, its file is damaged, or its
                architecture does not belong to the space.
        """
        epochs = self.epochs
        if not epochs:
            raise ConfigError(
                f"{self.path / 'architectures'} has no architecture file; the search "
                "has not finished an epoch yet"
            )
        if epoch is None:
            epoch = epochs[-1]
            # A file that was lost must not let an earlier epoch pass for the last one.
            if any(p.valid_loss is not None for p in read_epoch(self.path, epoch + 1)):
                raise ConfigError(_lost(self.path, epoch + 1))
        if epoch not in epochs:
            raise ConfigError(
                f"epoch {epoch} is not in {self.path / 'architectures'}; accepted are "
                f"{epochs[0]} to {epochs[-1]}"
            )
        file = self.path / ARCHITECTURES / f"{epoch}epoch.yaml"
        architecture = Architecture.read(file)
        try:
            self.space.index(architecture.space)
            _check_provenance(self.space, architecture.provenance)
        except ConfigError as error:
            raise ConfigError(
                f"{file} does not belong to the search space of this experiment: "
                f"{error}"
            ) from None
        return architecture

    def searched(self, epoch: Optional[int] = None) -> Architecture:
        """Return the architecture of an epoch in which the logits learned.

        Raises:
            ConfigError: As :meth:`architecture`, and if the epoch belongs to the
                warm-up.
        """
        architecture = self.architecture(epoch)
        if architecture.provenance.in_warmup:
            raise ConfigError(
                f"epoch {architecture.provenance.epoch} of {self.path} belongs to "
                "the warm-up, in which the architecture logits do not learn; accepted "
                "are later epochs"
            )
        return architecture

    def history(self, last: Optional[int] = None) -> tuple[Architecture, ...]:
        """Return the architectures of all epochs up to ``last``, in order.

        Raises:
            ConfigError: If the file of an epoch is missing or damaged.
        """
        wanted = [e for e in self.epochs if last is None or e <= last]
        for number, epoch in enumerate(wanted, start=1):
            if epoch != number:
                raise ConfigError(_lost(self.path, number))
        return tuple(self.architecture(epoch) for epoch in wanted)


def _lost(path: Path, epoch: int) -> str:
    file = path / "architectures" / f"{epoch}epoch.yaml"
    return (
        f"{file} is missing, though the search has finished this epoch; accepted are "
        "the whole directory, or earlier epochs by their number (derive --epoch)"
    )


def _plan(path: Path, config: Mapping[str, Any]) -> SearchPlan:
    longest, warmup = config.get("max_epoch"), config["warmup_epochs"]
    if warmup == "auto":
        warmup = read_health(path).warmup_end
    known = isinstance(longest, int) and isinstance(warmup, int)
    return SearchPlan(
        estimator=str(config.get("estimator", "st")),
        epochs=max(0, longest - warmup) if known else None,
    )


def _check_provenance(space: SearchSpace, provenance: Provenance) -> None:
    """Check that the provenance matches the search space."""
    digest = provenance.space.get("digest")
    if digest != space.digest:
        named = quote(digest).strip("'")
        raise ConfigError(f"it comes from the space {named}, not {space.digest}")
    if provenance.search_space() != space:
        raise ConfigError("the space in its provenance is another one")
    expected = [{str(op) for op in layer.candidates} for layer in space.choices]
    complete = [set(pi) for pi in provenance.probabilities] == expected
    if not complete or provenance.epoch is None or provenance.phase is None:
        raise ConfigError(
            "its provenance lacks the epoch, the phase, or the probability of every "
            "candidate"
        )
