"""Trains the entrants of a verification: finalists by halving, the others wholly."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.host.trained import weights_file
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.selection.entrants import Entrant
from espnet_stnas.selection.greedy import TestSet, greedy_errors
from espnet_stnas.selection.halving import Rung, better_ones, epochs_of
from espnet_stnas.selection.outcome import Trained
from espnet_stnas.selection.trainings import Launcher, Leg, Training, write_configs

_MARK = "verification.yaml"


def refuse_others(output: Path, experiment: SearchExperiment) -> None:
    """Check that a directory is free for the verification of a search.

    Args:
        output: The directory.
        experiment: The search.

    Raises:
        ConfigError: If it is that of another search, or holds something else.
    """
    file = output / _MARK
    if file.exists():
        found = read_yaml_mapping(file, "file")
        if found != _mark(experiment):
            raise ConfigError(
                f"{output} verifies another search, {found.get('search')}; choose "
                "another --output"
            )
    elif (output / "config.yaml").exists():
        raise ConfigError(
            f"{output} holds a search or a training; choose another --output"
        )


def claim(output: Path, experiment: SearchExperiment) -> None:
    """Note in a directory which search it verifies.

    Args:
        output: The directory.
        experiment: The search.
    """
    refuse_others(output, experiment)
    write_text(output / _MARK, dump_yaml(_mark(experiment)))


def _mark(experiment: SearchExperiment) -> dict[str, str]:
    return {
        "search": str(experiment.path.resolve()),
        "space": experiment.space.digest,
    }


class Verification:
    """Trainings of finalists, and of what they are compared with.

    Args:
        entrants: The encoders; each has a name of its own.
        seeds: Seeds of each.
        plan: The halving of the finalists.
        output: The directory.

    Raises:
        ConfigError: If names or seeds are there twice.
    """

    def __init__(
        self,
        entrants: Sequence[Entrant],
        seeds: Sequence[int],
        plan: Sequence[Rung],
        output: Path,
    ) -> None:
        names = [entrant.name for entrant in entrants]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ConfigError(f"two encoders are named {twice[0]}; rename one of them")
        if len(set(seeds)) < len(seeds) or min(seeds, default=-1) < 0:
            raise ConfigError(
                f"seeds are {' '.join(map(str, seeds))}; accepted are different "
                "integers from 0 on"
            )
        self.entrants = {entrant.name: entrant for entrant in entrants}
        self.seeds = seeds
        self.plan = plan
        # What each training of an encoder is, one for each seed.
        self.trainings = {
            entrant.name: [Training(entrant, seed, output) for seed in seeds]
            for entrant in entrants
        }

    def of_kind(self, *kinds: str) -> list[str]:
        """Return the names of the encoders of some kinds."""
        return [name for name, e in self.entrants.items() if e.kind in kinds]

    def described(self) -> list[str]:
        """Return lines that say what is going to be trained."""
        finalists, others = self.of_kind("finalist"), self.of_kind("random", "baseline")
        seeds = len(self.seeds)
        whole = self.plan[-1].epochs
        halved = seeds * epochs_of(self.plan)
        full = seeds * whole * len(finalists)
        more = seeds * sum(self.entrants[name].max_epoch for name in others)
        rungs = ", ".join(f"{r.entrants} to epoch {r.epochs}" for r in self.plan)
        lines = [f"finalists: {rungs}; {halved} epochs, whole trainings had {full}"]
        if others:
            lines.append(
                f"to compare with: {len(others)} encoders trained wholly, {more} epochs"
            )
        lines.append(f"in all: {halved + more} epochs (seeds {_listed(self.seeds)})")
        return lines

    def run(self, launcher: Launcher, say: Callable[[str], object]) -> list[str]:
        """Train what is missing.

        Args:
            launcher: Runs the trainings.
            say: Gets a line about each rung.

        Returns:
            The names of the finalists that were trained wholly, the best first.
        """
        write_configs([t for some in self.trainings.values() for t in some])
        names = self.of_kind("finalist")
        for number, rung in enumerate(self.plan, start=1):
            legs = [Leg(t, rung.epochs) for n in names for t in self.trainings[n]]
            if rung is self.plan[-1]:
                legs += [
                    Leg(training, training.entrant.max_epoch)
                    for name in self.of_kind("random", "baseline")
                    for training in self.trainings[name]
                ]
            say(f"rung {number}: {', '.join(names)} to epoch {rung.epochs}")
            launcher.run(legs)
            left = self.plan[number].entrants if number < len(self.plan) else len(names)
            names = better_ones({n: self.badness(n, rung.epochs) for n in names}, left)
        return names

    def badness(self, name: str, epochs: int) -> float:
        """Return the mean of seeds of the validation measure; the smaller the better.

        Args:
            name: The entrant.
            epochs: The first epochs, whose best one counts.
        """
        return statistics.fmean(
            t.progress.badness(epochs) for t in self.trainings[name]
        )

    def results(
        self, scored: Collection[str], tests: Sequence[TestSet], device: str
    ) -> list[Trained]:
        """Return what is known of each training, with errors where it is complete.

        Args:
            scored: Names of the encoders whose errors are counted.
            tests: The test sets.
            device: Where to decode: ``cpu`` or ``cuda``.
        """
        found = []
        for training in (t for some in self.trainings.values() for t in some):
            entrant, progress = training.entrant, training.progress
            errors = {}
            if entrant.name in scored:
                weights = _weights(training.directory, progress.criterion)
                for test in tests:
                    errors[test.name] = greedy_errors(
                        training.directory, weights, test, device
                    )
            params = entrant.params
            found.append(
                Trained(
                    name=entrant.name,
                    kind=entrant.kind,
                    seed=training.seed,
                    params=progress.encoder_parameters if params is None else params,
                    epochs=progress.epochs,
                    seconds=progress.seconds,
                    criterion=progress.criterion,
                    value=progress.best(progress.epochs),
                    errors=errors,
                )
            )
        return found


def _weights(directory: Path, criterion: str) -> Path:
    """Return the averaged weights by the criterion, or what else there is."""
    for kind in ("ave", "best"):
        file = directory / f"valid.{criterion}.{kind}.pth"
        if file.is_file():
            return file
    return weights_file(directory)


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
