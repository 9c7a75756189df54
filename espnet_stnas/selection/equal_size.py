"""Architectures to compare a selected one with: as large as a limit allows."""

from __future__ import annotations

import random

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.selection.limits import AddedCost, Limit
from espnet_stnas.selection.paths import PathIndices, all_paths, sizes

# How much less than a limit counts as equal.
TOLERANCE = 0.03
# The most architectures that are all looked at, and draws from larger spaces.
_MOST = 100_000
# More sums than these are rounded to shares of the limit.
_SUMS = 20_000


def equal_paths(
    space: SearchSpace, limit: Limit, number: int, seed: int
) -> list[PathIndices]:
    """Draw different architectures that cost what a limit allows, or 3 % less.

    All of them are equally likely.

    Args:
        space: The search space.
        limit: The limit, of costs that add up.
        number: How many to draw.
        seed: Seed of the draws.

    Raises:
        ConfigError: If there are fewer.
    """
    generator = random.Random(seed)

    def equal(path: PathIndices) -> bool:
        cost = limit.measure.least(path)
        return cost >= (1 - TOLERANCE) * limit.most and limit.allows(path)

    if space.num_architectures <= _MOST:
        found = list(filter(equal, all_paths(space)))
        if len(found) >= number:
            return generator.sample(found, number)
        looked = "has"
    else:
        draws = (tuple(map(generator.randrange, sizes(space))) for _ in range(_MOST))
        drawn: dict[PathIndices, None] = {}
        for path in filter(equal, draws):
            drawn[path] = None
            if len(drawn) >= number:
                return list(drawn)[:number]
        found = list(drawn)
        looked = f"shows in {_MOST:,} draws"
    raise ConfigError(
        f"{limit.name}: {number} random architectures are asked for, and the space "
        f"{looked} {len(found)} that have {limit.measure.text(limit.most)}, or up to "
        f"{TOLERANCE:.0%} less"
    )


def largest_path(space: SearchSpace, limit: Limit) -> PathIndices:
    """Return the most expensive architecture that keeps a limit.

    Of equally expensive ones, that with the later candidates. It is exact up to a
    ten-thousandth of the limit: beyond 20,000 different sums, close ones are merged.

    Args:
        space: The search space.
        limit: The limit, of costs that add up; some architecture keeps it.
    """
    assert isinstance(limit.measure, AddedCost)
    table = limit.measure.table
    best: dict[float, PathIndices] = {table.fixed: ()}
    for costs in table.choices:
        longer: dict[float, PathIndices] = {}
        for spent, path in best.items():
            for k, cost in enumerate(costs):
                if limit.allows((*path, k)):
                    known = longer.get(spent + cost, ())
                    longer[spent + cost] = max(known, (*path, k))
        best = _fewer(longer, limit.most)
    return best[max(best)]


def _fewer(paths: dict[float, PathIndices], most: float) -> dict[float, PathIndices]:
    """Keep the largest of sums that are nearly equal, if there are too many."""
    if len(paths) <= _SUMS:
        return paths
    groups: dict[int, float] = {}
    for spent in paths:
        group = int(spent / most * _SUMS)
        groups[group] = max(spent, groups.get(group, spent))
    return {spent: paths[spent] for spent in groups.values()}
