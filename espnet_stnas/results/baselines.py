"""Architectures to compare a search with: chosen by hand or at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.spec import parse_op
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import Provenance


def by_hand(space: SearchSpace, operations: Sequence[str]) -> Architecture:
    """Return the architecture with the given operations at the choices.

    Args:
        space: The search space.
        operations: One operation for all choices, or one for each choice.

    Raises:
        ConfigError: If their number is wrong, or one is not a candidate.
    """
    choices = space.choices
    if len(operations) == 1:
        operations = list(operations) * len(choices)
    if len(operations) != len(choices):
        raise ConfigError(
            f"{len(operations)} operations are given; accepted is 1 for all choices or "
            f"{len(choices)}, one for each"
        )
    indices = []
    for number, (layer, text) in enumerate(
        zip(choices, operations, strict=True), start=1
    ):
        op = parse_op(text, f"choice {number}")
        if op not in layer.candidates:
            raise ConfigError(
                f"choice {number}: '{op}' is not a candidate; accepted are: "
                f"{', '.join(map(str, layer.candidates))}"
            )
        indices.append(layer.candidates.index(op))
    return chosen_path(space, indices, "by hand")


def at_random(space: SearchSpace, number: int, seed: int) -> list[Architecture]:
    """Draw different architectures uniformly from the space.

    Args:
        space: The search space.
        number: Number of architectures.
        seed: Seed of the draw.

    Raises:
        ConfigError: If the space has fewer architectures.
    """
    if not 0 <= number <= space.num_architectures:
        raise ConfigError(
            f"{number} random architectures are asked for; the space has "
            f"{quote(space.num_architectures)}"
        )
    generator = random.Random(seed)
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < number:
        path = tuple(generator.randrange(len(la.candidates)) for la in space.choices)
        drawn.setdefault(path)
    return [chosen_path(space, path, "at random", seed) for path in drawn]


def chosen_path(
    space: SearchSpace, path: Sequence[int], how: str, seed: Optional[int] = None
) -> Architecture:
    """Return an architecture that no search chose.

    Args:
        space: The search space.
        path: Candidate indices, one per choice.
        how: ``by hand`` or ``at random``.
        seed: Seed of the draw.
    """
    return Architecture(space.resolve(path), Provenance(chosen=how, seed=seed))
