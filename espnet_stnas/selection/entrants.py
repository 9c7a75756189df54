"""The architectures that a verification trains."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.selection.limits import AddedCost, Limit, allowed
from espnet_stnas.selection.paths import PathIndices, sizes
from espnet_stnas.selection.probable import most_probable

# A space of no more architectures is searched completely for those of equal size.
_FEW = 100_000
# Draws until a new architecture of equal size is found.
_TRIES = 100_000

KINDS = ("finalist", "random", "baseline")


@dataclass(frozen=True)
class Entrant:
    """An encoder to be trained.

    Args:
        name: Its name, and that of its directory.
        kind: One of ``KINDS``.
        config: The training config with it.
        max_epoch: Epochs of its whole training.
        architecture: The architecture; None: an encoder of ESPnet.
        params: Parameters of the encoder, if known before it is trained.
    """

    name: str
    kind: str
    config: dict[str, Any]
    max_epoch: int
    architecture: Optional[Architecture] = None
    params: Optional[int] = None


def of_equal_size(
    space: SearchSpace,
    params: AddedCost,
    finalists: Sequence[PathIndices],
    limits: Sequence[Limit],
    *,
    tolerance: float,
    count: int,
    seed: int,
) -> list[PathIndices]:
    """Draw different architectures with as many parameters as finalists have.

    All that keep the limits, and that have no fewer parameters than the smallest
    finalist and no more than the largest one, give or take the tolerance, are equally
    likely. Finalists are not left out: chance may draw them, too.

    Args:
        space: The search space.
        params: The parameters of its architectures.
        finalists: Their candidate indices.
        limits: Limits that the random ones must keep, as the finalists do.
        tolerance: Accepted difference as a share of the finalists' parameters.
        count: How many to draw.
        seed: Seed of the draws.

    Raises:
        ConfigError: If a number is out of range, or there are not as many.
    """
    if count < 0:
        raise ConfigError(f"random is {count}; accepted is an integer from 0 on")
    if not 0 <= tolerance <= 1:
        raise ConfigError(f"tolerance is {tolerance}; accepted is a number from 0 to 1")
    least = min(map(params.least, finalists)) * (1 - tolerance)
    most = max(map(params.least, finalists)) * (1 + tolerance)

    def fits(path: PathIndices) -> bool:
        return least <= params.least(path) <= most and allowed(limits, path)

    generator = random.Random(seed)
    radices = sizes(space)
    found: dict[PathIndices, None] = {}
    if space.num_architectures <= _FEW:
        every = [p for p in itertools.product(*map(range, radices)) if fits(p)]
        found = dict.fromkeys(generator.sample(every, min(count, len(every))))
    else:
        for _ in range(_TRIES):
            if len(found) == count:
                break
            path = tuple(map(generator.randrange, radices))
            if fits(path):
                found.setdefault(path)
    if len(found) < count:
        raise ConfigError(
            f"random is {count}, but only {len(found)} architectures with {least:,.0f} "
            f"to {most:,.0f} parameters were found; raise --tolerance, or accept fewer"
        )
    return list(found)


def largest(params: AddedCost, limits: Sequence[Limit]) -> PathIndices:
    """Return the architecture with the most parameters that keeps the limits: exact.

    Args:
        params: The parameters of the architectures.
        limits: The limits; at least one architecture keeps them.
    """
    return most_probable(params.table.choices, limits, 1)[0]


def check_name(option: str, name: str) -> None:
    """Check the name of an encoder, which becomes that of a directory.

    Args:
        option: The option that it comes from.
        name: The name.

    Raises:
        ConfigError: If it cannot be used.
    """
    if not re.fullmatch(r"\w[\w.-]*", name) or name in KINDS:
        raise ConfigError(
            f"{option}: {quote(name)} cannot be the name of an encoder; accepted are "
            f"letters, digits, and _ - . between them, but not {', '.join(KINDS)}"
        )
