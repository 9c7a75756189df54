"""Collects all information about one search for a report. No torch."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_yaml_mapping
from espnet_stnas.notation.reach import FRAME_SHIFT, View, view_of
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.evaluated import Evaluated
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import (
    Certainty,
    Doubt,
    certainties,
    doubts,
    entropy,
)
from espnet_stnas.results.curves import CurvePoint, points_of, read_curves, read_runs
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.health import Health, read_health
from espnet_stnas.results.layer_table import LayerRow, architecture_rows
from espnet_stnas.results.provenance import FoundCost

# The options that matter most to readers of a report.
SETTINGS = (
    *("task", "seed", "estimator", "estimator_conf", "cost_conf", "warmup_epochs"),
    *("max_epoch", "arch_data", "arch_fraction", "optim", "optim_conf", "scheduler"),
    *("scheduler_conf", "optim2", "optim2_conf", "scheduler2", "scheduler2_conf"),
    *("batch_type", "batch_size", "batch_bins", "accum_grad", "grad_clip", "use_amp"),
    *("train_dtype", "ngpu", "dist_world_size", "num_iters_per_epoch"),
)

# Maps a space and the size of input frames to each layer's parameters by candidate.
Parameters = Callable[[SearchSpace, int], Sequence[Sequence[int]]]


@dataclass(frozen=True)
class Summary:
    """A search, finished or still running.

    Args:
        experiment: The search.
        architecture: The most probable architecture of its last epoch, or the one that
            was derived from it.
        rows: The layers of the architecture.
        points: The curve points of the search, in order.
        certainties: The certainty of each choice.
        doubts: Reasons to doubt the result.
        health: What paths did with the weights of the supernet.
        epochs: Number of finished epochs.
        longest: Number of planned epochs, if known.
        settings: Options of the search.
        runs: Descriptions of all starts, in order.
        evaluated: What ``stnas evaluate`` and ``stnas select`` measured, if anything.
    """

    experiment: SearchExperiment
    architecture: Architecture
    rows: tuple[LayerRow, ...]
    points: tuple[CurvePoint, ...]
    certainties: tuple[Certainty, ...]
    doubts: tuple[Doubt, ...]
    health: Health
    epochs: int
    longest: Optional[int]
    settings: Mapping[str, Any]
    runs: tuple[Mapping[str, Any], ...]
    evaluated: Optional[Evaluated] = None

    @property
    def name(self) -> str:
        """A short name of the search, from its directory."""
        path = self.experiment.path.resolve()
        # Recipes use the directory `search` inside the directory of the experiment.
        return f"{path.parent.name}/{path.name}" if path.name == "search" else path.name

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.experiment.space

    @property
    def finished(self) -> bool:
        """Whether all planned epochs are finished."""
        return self.longest is not None and self.epochs >= self.longest

    @property
    def failed(self) -> bool:
        """Whether the search ended with an error."""
        return self.experiment.failure_in(self.experiment.path) is not None

    @property
    def seconds(self) -> Optional[float]:
        """Wall time of all epochs, without starts; None if not known."""
        epochs: dict[int, float] = {}
        for point in self.points:
            if point.seconds is not None:
                last = epochs.get(point.epoch, 0.0)
                epochs[point.epoch] = max(last, point.seconds)
        return sum(epochs.values()) if epochs else None

    @property
    def status(self) -> str:
        """The progress of the search in words."""
        failure = self.experiment.failure_in(self.experiment.path)
        if failure is not None:
            return f"failed after {self.epochs} epochs: {failure}"
        of = "" if self.longest is None else f" of {self.longest}"
        warmup = self.architecture.provenance.in_warmup
        note = ", still in the warm-up" if warmup else ""
        if self.finished:
            return f"finished after {self.epochs} epochs{note}"
        return f"{self.epochs}{of} epochs done{note}"

    @property
    def findings(self) -> list[str]:
        """Sentences on what is well with the supernet."""
        return self.health.findings()[0]

    @property
    def warnings(self) -> list[str]:
        """Sentences on reasons to doubt the result."""
        return [doubt.text for doubt in self.doubts] + self.health.findings()[1]

    @property
    def parameters(self) -> Optional[int]:
        """The parameters of the architecture's encoder; None if not known."""
        counts = [row.parameters for row in self.rows]
        return sum(c[0] for c in counts if c) if all(counts) else None

    @property
    def view(self) -> View:
        """The input frames that an output frame of the architecture depends on."""
        return view_of(self.architecture.space)

    @property
    def look_ahead(self) -> str:
        """The look-ahead in words, for the usual frame shift."""
        if math.isinf(self.view.right):
            return "the whole utterance"
        return f"{self.view.right * FRAME_SHIFT:g} ms (frames {FRAME_SHIFT:g} ms apart)"

    @property
    def mean_entropy(self) -> Optional[float]:
        """Mean entropy of the choices at the last point, in nats."""
        found = next((m for m in reversed(self.points) if m.probabilities), None)
        if found is None:
            return None
        return sum(map(entropy, found.probabilities)) / len(found.probabilities)

    @property
    def cost_target(self) -> Optional[float]:
        """The target of the cost in units of its kind, if there is one."""
        return None if self._cost is None else self._cost.target

    @property
    def cost_kind(self) -> str:
        """The kind of cost of the search, or an empty text."""
        return "" if self._cost is None else self._cost.kind

    @property
    def cost_weight(self) -> float:
        """The weight of the cost in the search."""
        return 0.0 if self._cost is None else self._cost.weight or 0.0

    @property
    def _cost(self) -> Optional[FoundCost]:
        return self.architecture.provenance.cost


def summarise(
    path: PathLike,
    *,
    arch: Optional[PathLike] = None,
    parameters: Optional[Parameters] = None,
) -> Summary:
    """Collect the information about a search on disk, also while it runs.

    Args:
        path: The output directory of the search.
        arch: The architecture file that was derived from it; None: the last epoch's.
        parameters: Counts parameters; None: they stay unknown.

    Raises:
        ConfigError: If the path is no search, no epoch is finished, a file is damaged,
            or the architecture does not belong to its space.
    """
    experiment = SearchExperiment.open(path)
    history = experiment.history()
    architecture = experiment.architecture()
    if arch is not None:
        architecture = Architecture.read(arch)
        try:
            experiment.space.index(architecture.space)
        except ConfigError as error:
            raise ConfigError(f"{arch} is not of the search {path}: {error}") from None
    size = architecture.provenance.input_size
    counts = None
    if parameters is not None and size is not None:
        counts = parameters(architecture.space, size)
    points = tuple(read_curves(path))
    fitting = tuple(len(c.candidates) for c in experiment.space.choices)
    points = tuple(m for m in points if _fits(m, fitting))
    config = read_yaml_mapping(Path(path) / "config.yaml", "experiment config")
    longest = config.get("max_epoch")
    epochs = experiment.epochs[-1]
    finished = type(longest) is int and epochs >= longest
    return Summary(
        experiment=experiment,
        architecture=architecture,
        rows=tuple(architecture_rows(architecture, counts)),
        points=points or tuple(points_of(history)),
        certainties=tuple(certainties(history)),
        doubts=tuple(doubts(history, experiment.plan, ended=finished)),
        health=read_health(path).up_to(epochs),
        epochs=epochs,
        longest=longest if type(longest) is int else None,
        settings={
            key: config[key]
            for key in SETTINGS
            if config.get(key) not in (None, {}, [], "")
        },
        runs=tuple(read_runs(path)),
    )


def _fits(point: CurvePoint, sizes: Sequence[int]) -> bool:
    """Return whether a point has probabilities for choices of these sizes."""
    found = tuple(len(pi) for pi in point.probabilities)
    return found in (tuple(sizes), ())


def command_of(run: Mapping[str, Any]) -> str:
    """Return the command line of a start for a shell; empty if unknown."""
    words = run.get("command")
    if not isinstance(words, list):
        return ""
    return shlex.join(str(word) for word in words)
