"""Architectures of a space as candidate indices, one per choice. No torch."""

from __future__ import annotations

import itertools
import random

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.space import SearchSpace

PathIndices = tuple[int, ...]
"""One candidate index per choice."""

# How much more or less counts as equal size, as a share.
TOLERANCE = 0.03


def path_name(space: SearchSpace, path: PathIndices) -> str:
    """Return the chosen candidates of a path, in the order of the choices.

    >>> space = SearchSpace.from_conf({"layers": [["tdnn-C1", "tdnn-C2"], "ff"]})
    >>> path_name(space, (1,))
    'tdnn-C2D1'
    """
    chosen = zip(space.choices, path, strict=True)
    return " ".join(str(choice.candidates[k]) for choice, k in chosen)


def all_paths(space: SearchSpace) -> list[PathIndices]:
    """Return all architectures of a space, in lexicographic order."""
    return list(itertools.product(*map(range, sizes(space))))


def sizes(space: SearchSpace) -> list[int]:
    """Return the number of candidates of each choice."""
    return [len(choice.candidates) for choice in space.choices]


def some_paths(space: SearchSpace, count: int, seed: int) -> list[PathIndices]:
    """Draw different architectures, all of them equally likely.

    Args:
        space: The search space.
        count: How many to draw.
        seed: Seed of the draws.

    Raises:
        ConfigError: If the space does not have as many.
    """
    if not 1 <= count <= space.num_architectures:
        raise ConfigError(
            f"paths is {count}; accepted is an integer from 1 to "
            f"{space.num_architectures}, the architectures of this space"
        )
    generator = random.Random(seed)
    numbers: set[int] = set()
    while len(numbers) < count:
        numbers.add(generator.randrange(space.num_architectures))
    return [_decoded(number, sizes(space)) for number in sorted(numbers)]


def _decoded(number: int, radices: list[int]) -> PathIndices:
    """Return the digits of a number in a system of mixed radices."""
    digits = []
    for radix in reversed(radices):
        number, digit = divmod(number, radix)
        digits.append(digit)
    return tuple(reversed(digits))
