"""Selects architectures under limits: by probability, by the supernet, or by both."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.selection.evaluation import METRICS, Evaluation
from espnet_stnas.selection.evolution import (
    Evolution,
    Values,
    evolve,
    hypervolume,
    non_dominated,
)
from espnet_stnas.selection.limits import (
    UNITS,
    Limit,
    Measure,
    allowed,
    none_left,
    refuse_unreachable,
)
from espnet_stnas.selection.paths import PathIndices, sizes
from espnet_stnas.selection.probable import (
    LogProbabilities,
    draw,
    log_probability,
    most_probable,
)

Evaluate = Callable[[Sequence[PathIndices]], Sequence[Evaluation]]
# Draws until a new architecture is found for the first population.
_TRIES = 100
# The most architectures whose limits are all looked at, to count those that keep them.
_MOST = 100_000


@dataclass(frozen=True)
class Choice:
    """An architecture that was selected, and what is known of it.

    Args:
        path: Its candidate indices.
        log_probability: Natural logarithm of its probability.
        costs: Its costs by kind.
        evaluation: Its result with the shared weights, if it was evaluated.
    """

    path: PathIndices
    log_probability: float
    costs: Mapping[str, float] = field(default_factory=dict)
    evaluation: Optional[Evaluation] = None


class Selector:
    """Selects architectures of a space.

    Args:
        space: The search space.
        log_pi: Logarithms of the probabilities of all choices.
        limits: The limits that architectures must keep.
        measures: The costs to report.

    Raises:
        ConfigError: If no architecture keeps all limits.
    """

    def __init__(
        self,
        space: SearchSpace,
        log_pi: LogProbabilities,
        limits: Sequence[Limit],
        measures: Sequence[Measure],
    ) -> None:
        self.space = space
        self.log_pi = log_pi
        self.limits = limits
        self.measures = measures
        refuse_unreachable(limits)
        # Also shows that there is one.
        self._best = self._most_probable(1)

    def by_probability(self, top: int) -> list[Choice]:
        """Return the most probable architectures, the best first.

        Args:
            top: How many, at most.
        """
        paths = self._best if top == 1 else self._most_probable(top)
        return [self._choice(path) for path in paths]

    def by_both(
        self, evaluate: Evaluate, metric: str, shortlist: int, top: int
    ) -> list[Choice]:
        """Return the best of the most probable architectures, the best first.

        Args:
            evaluate: Evaluates architectures with the shared weights.
            metric: What to compare: ``loss``, ``error_rate`` or ``accuracy``.
            shortlist: How many of the most probable ones to evaluate.
            top: How many to return, at most.
        """
        paths = self._most_probable(max(shortlist, top))
        return self._ordered(paths, evaluate(paths), metric)[:top]

    def by_supernet(
        self, evaluate: Evaluate, metric: str, options: Evolution, top: int
    ) -> list[Choice]:
        """Return the best architectures that an evolution finds, the best first.

        Args:
            evaluate: Evaluates architectures with the shared weights.
            metric: What to compare: ``loss``, ``error_rate`` or ``accuracy``.
            options: Size and length of the evolution.
            top: How many to return, at most.
        """
        known = self.explored(evaluate, [metric], options)
        paths = list(known)
        results = [known[path] for path in paths]
        return self._ordered(paths, results, metric)[:top]

    def front(
        self, evaluate: Evaluate, objectives: Sequence[str], options: Evolution
    ) -> tuple[list[Choice], list[Choice]]:
        """Return the architectures on the Pareto front, and all that were evaluated.

        Args:
            evaluate: Evaluates architectures with the shared weights.
            objectives: Kinds of costs, and measures of evaluations.
            options: Size and length of the evolution.
        """
        known = self.explored(evaluate, objectives, options)
        choices = {path: self._choice(path, found) for path, found in known.items()}
        values = {p: self.values(c, objectives) for p, c in choices.items()}
        order = sorted(choices, key=lambda path: (values[path], path))
        front = non_dominated(order, values)
        return [choices[path] for path in front], [choices[path] for path in order]

    def explored(
        self, evaluate: Evaluate, objectives: Sequence[str], options: Evolution
    ) -> dict[PathIndices, Evaluation]:
        """Evaluate all architectures, or those that an evolution comes across.

        All, if there are no more than the evolution would evaluate.

        Args:
            evaluate: Evaluates architectures with the shared weights.
            objectives: Kinds of costs, and measures of evaluations.
            options: Size and length of the evolution.
        """
        results: dict[PathIndices, Evaluation] = {}

        def values_of(paths: Sequence[PathIndices]) -> list[Values]:
            results.update(zip(paths, evaluate(paths), strict=True))
            choices = [self._choice(path, results[path]) for path in paths]
            return [self.values(choice, objectives) for choice in choices]

        few = self._all_of_few(options.evaluations)
        if few is not None:
            values_of(few)
        else:
            evolve(
                sizes(self.space),
                self._first_population(options),
                values_of,
                lambda path: allowed(self.limits, path),
                options,
            )
        return results

    def values(self, choice: Choice, objectives: Sequence[str]) -> Values:
        """Return objectives of which less is better.

        Args:
            choice: An architecture with its evaluation.
            objectives: Kinds of costs, and measures of evaluations.
        """
        assert choice.evaluation is not None
        return tuple(
            choice.costs[name]
            if name in choice.costs
            else choice.evaluation.badness(name)
            for name in objectives
        )

    def volume(
        self,
        front: Sequence[Choice],
        choices: Sequence[Choice],
        objectives: Sequence[str],
    ) -> tuple[float, list[tuple[float, float]]]:
        """Return the hypervolume of a front as a share of a box.

        Args:
            front: The architectures on the front.
            choices: All architectures that were evaluated.
            objectives: Kinds of costs, and measures of evaluations.

        Returns:
            The share, and the edges of the box: for a cost, those of the space; for a
            measure, the best and the worst of all that were evaluated.
        """
        edges = dict.fromkeys(objectives, (0.0, 0.0))
        columns = zip(*(self.values(c, objectives) for c in choices), strict=True)
        for name, column in zip(objectives, columns, strict=True):
            finite = [value for value in column if math.isfinite(value)]
            if finite:
                edges[name] = min(finite), max(finite)
        for m in self.measures:
            if m.kind in edges and math.isfinite(m.maximum):
                edges[m.kind] = m.least(()), m.maximum
        box = [edges[name] for name in objectives]
        points = []
        for choice in front:
            values = zip(self.values(choice, objectives), box, strict=True)
            points.append(tuple(_share(value, *ends) for value, ends in values))
        signs = [-1 if METRICS.get(name, False) else 1 for name in objectives]
        shown = [
            (sign * first, sign * last)
            for sign, (first, last) in zip(signs, box, strict=True)
        ]
        return hypervolume(points, (1.0,) * len(objectives)), shown

    def _most_probable(self, top: int) -> list[PathIndices]:
        found = most_probable(self.log_pi, self.limits, top)
        if not found:
            raise none_left(self.limits)
        return found

    def _all_of_few(self, most: int) -> Optional[list[PathIndices]]:
        """Return all architectures that keep the limits; None if they are many."""
        if self.space.num_architectures > _MOST:
            return None
        everything = itertools.product(*map(range, sizes(self.space)))
        few = (path for path in everything if allowed(self.limits, path))
        found = list(itertools.islice(few, most + 1))
        return found if len(found) <= most else None

    def _first_population(self, options: Evolution) -> list[PathIndices]:
        """Draw different architectures by probability, beside the most probable one."""
        generator = random.Random(options.seed)
        found = dict.fromkeys(self._best)
        for _ in range(_TRIES * options.population):
            if len(found) == options.population:
                break
            path = draw(self.log_pi, self.limits, generator)
            if path is not None:
                found[path] = None
        return list(found)

    def _ordered(
        self,
        paths: Sequence[PathIndices],
        results: Sequence[Evaluation],
        metric: str,
    ) -> list[Choice]:
        choices = [
            self._choice(path, found)
            for path, found in zip(paths, results, strict=True)
        ]
        return sorted(choices, key=lambda c: (self.values(c, [metric]), c.path))

    def _choice(
        self, path: PathIndices, evaluation: Optional[Evaluation] = None
    ) -> Choice:
        costs = {m.kind: m.least(path) for m in self.measures}
        probability = log_probability(self.log_pi, path)
        return Choice(path, probability, costs, evaluation)


def _share(value: float, least: float, most: float) -> float:
    """Return where a value lies between the ends of all values."""
    if least == most:
        return 0.0
    return min((value - least) / (most - least), 1.0)


def parse_objectives(text: str) -> list[str]:
    """Read the objectives of a Pareto front, such as ``params,loss``.

    Raises:
        ConfigError: If one is not known or there twice, or there is only one.
    """
    names = [name.strip() for name in text.split(",")]
    known = [*UNITS, *METRICS]
    if not set(names) <= set(known) or len(set(names)) != len(names) or names[1:] == []:
        raise ConfigError(
            f"front is {quote(text)}; accepted are two or more of {', '.join(known)}, "
            "such as params,loss"
        )
    return names


def check_count(name: str, value: int) -> None:
    """Check a number of architectures.

    Raises:
        ConfigError: If it is out of range.
    """
    if not 1 <= value <= 100_000:
        raise ConfigError(f"{name} is {value}; accepted is an integer from 1 to 100000")
