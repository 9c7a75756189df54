"""An evolutionary search for one objective or several: NSGA-II. No torch.

Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE
Transactions on Evolutionary Computation 6(2). With one objective, it is a plain
evolution that keeps the best.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from espnet_stnas.errors import ConfigError
from espnet_stnas.selection.paths import PathIndices

Values = tuple[float, ...]
"""The objectives of an architecture; less is better."""
# Tries to make a child that is new and keeps all limits.
_TRIES = 50


@dataclass(frozen=True)
class Evolution:
    """How long an evolution runs.

    Args:
        population: Architectures that survive a generation, and children of each.
        generations: Generations after the first population.
        seed: Seed of all draws.
    """

    population: int = 50
    generations: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: If one is out of range.
        """
        for name, least in (("population", 2), ("generations", 0), ("seed", 0)):
            value = getattr(self, name)
            if not least <= value <= 1_000_000:
                raise ConfigError(
                    f"{name} is {value}; accepted is an integer from {least} to 1000000"
                )

    @property
    def evaluations(self) -> int:
        """The most architectures that are evaluated."""
        return self.population * (self.generations + 1)


def evolve(
    sizes: Sequence[int],
    start: Sequence[PathIndices],
    evaluate: Callable[[Sequence[PathIndices]], Sequence[Values]],
    fits: Callable[[PathIndices], bool],
    options: Evolution,
) -> dict[PathIndices, Values]:
    """Run an evolution.

    Args:
        sizes: Number of candidates of each choice.
        start: The first population: different architectures that keep all limits.
        evaluate: Computes the objectives of architectures.
        fits: Whether an architecture keeps all limits.
        options: Size and length of the evolution.

    Returns:
        All architectures that were evaluated, with their objectives.
    """
    generator = random.Random(options.seed)
    known = dict(zip(start, evaluate(start), strict=True))
    population = list(known)
    for _ in range(options.generations):
        order = ranked(population, known)
        place = {path: number for number, path in enumerate(order)}
        children: dict[PathIndices, None] = {}
        for _ in range(options.population):
            for _ in range(_TRIES):
                mother, father = (
                    min(generator.choices(population, k=2), key=place.__getitem__)
                    for _ in range(2)
                )
                child = _child(mother, father, sizes, generator)
                if child not in known and child not in children and fits(child):
                    children[child] = None
                    break
        if not children:
            break
        new = list(children)
        known.update(zip(new, evaluate(new), strict=True))
        population = ranked([*population, *new], known)[: options.population]
    return known


def _child(
    mother: PathIndices,
    father: PathIndices,
    sizes: Sequence[int],
    generator: random.Random,
) -> PathIndices:
    """Mix two architectures, and change one choice of the mixture on average."""
    mixed = [generator.choice(pair) for pair in zip(mother, father, strict=True)]
    return tuple(
        generator.randrange(size) if generator.random() < 1 / len(sizes) else k
        for k, size in zip(mixed, sizes, strict=True)
    )


def ranked(
    paths: Sequence[PathIndices], values: dict[PathIndices, Values]
) -> list[PathIndices]:
    """Order architectures: better fronts first, then those with few neighbours."""
    order: list[PathIndices] = []
    left = sorted(paths)
    while left:
        front = non_dominated(left, values)
        distance = _crowding(front, values)
        order += sorted(front, key=lambda path: (-distance[path], path))
        kept = set(front)
        left = [path for path in left if path not in kept]
    return order


def non_dominated(
    paths: Sequence[PathIndices], values: dict[PathIndices, Values]
) -> list[PathIndices]:
    """Return the architectures than which no other one is better.

    One is better than another if it is better in an objective, and worse in none.
    """

    def better(one: Values, other: Values) -> bool:
        return one != other and all(a <= b for a, b in zip(one, other, strict=True))

    # No later one in lexicographic order is better than an earlier one.
    front: list[PathIndices] = []
    for path in sorted(paths, key=lambda path: (values[path], path)):
        if not any(better(values[other], values[path]) for other in front):
            front.append(path)
    return front


def _crowding(
    front: Sequence[PathIndices], values: dict[PathIndices, Values]
) -> dict[PathIndices, float]:
    """Return the distance of each architecture's neighbours along the front."""
    distance = dict.fromkeys(front, 0.0)
    for number in range(len(values[front[0]])):
        order = sorted(front, key=lambda path: (values[path][number], path))
        least, most = (values[order[end]][number] for end in (0, -1))
        for end in (order[0], order[-1]):
            distance[end] = math.inf
        if not 0 < most - least < math.inf:
            continue
        for before, path, after in zip(order, order[1:], order[2:], strict=False):
            gap = values[after][number] - values[before][number]
            distance[path] += gap / (most - least)
    return distance


def hypervolume(points: Sequence[Values], reference: Values) -> float:
    """Return the volume between points and a reference that is worse than all.

    Args:
        points: Objectives of architectures.
        reference: The reference point; points that are not better do not count.

    >>> hypervolume([(0.0, 0.5), (0.5, 0.0)], (1.0, 1.0))
    0.75
    """
    inside = [
        point
        for point in points
        if all(a < b for a, b in zip(point, reference, strict=True))
    ]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(point[0] for point in inside)
    # Slices along the last objective.
    edges = sorted({point[-1] for point in inside})
    return sum(
        (end - edge)
        * hypervolume([p[:-1] for p in inside if p[-1] <= edge], reference[:-1])
        for edge, end in zip(edges, [*edges[1:], reference[-1]], strict=True)
    )
