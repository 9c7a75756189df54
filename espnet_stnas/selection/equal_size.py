"""Architectures to compare a selected one with: of equal size, and the largest."""

from __future__ import annotations

import random
from collections.abc import Sequence

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.selection.limits import AddedCost, Limit, allowed
from espnet_stnas.selection.paths import PathIndices, all_paths, sizes
from espnet_stnas.selection.probable import most_probable

# The most architectures that are all looked at, and draws from larger spaces.
_MOST = 100_000
# More sums than these are rounded to shares of the limit.
_SUMS = 20_000


def paths_between(
    space: SearchSpace,
    costs: AddedCost,
    bounds: tuple[float, float],
    limits: Sequence[Limit],
    *,
    count: int,
    seed: int,
) -> list[PathIndices]:
    """Draw different architectures whose costs are between two bounds.

    All of them that keep the limits are equally likely.

    Args:
        space: The search space.
        costs: The costs of its architectures.
        bounds: The least and the most that they may be.
        limits: Limits of these or other costs.
        count: How many to draw.
        seed: Seed of the draws.

    Raises:
        ConfigError: If there are fewer.
    """
    if count < 0:
        raise ConfigError(f"random is {count}; accepted is an integer from 0 on")
    least, most = bounds
    generator = random.Random(seed)

    def fits(path: PathIndices) -> bool:
        # Sums of measured times are not exact.
        fair = least <= costs.least(path) <= most * (1 + 1e-12)
        return fair and allowed(limits, path)

    if space.num_architectures <= _MOST:
        found = list(filter(fits, all_paths(space)))
        if len(found) >= count:
            return generator.sample(found, count)
        looked = "has"
    else:
        draws = (tuple(map(generator.randrange, sizes(space))) for _ in range(_MOST))
        drawn: dict[PathIndices, None] = {}
        for path in filter(fits, draws):
            drawn[path] = None
            if len(drawn) >= count:
                return list(drawn)[:count]
        found = list(drawn)
        looked = f"shows in {_MOST:,} draws"
    raise ConfigError(
        f"random is {count}, but the space {looked} only {len(found)} architectures "
        f"with {least:,.0f} to {costs.text(most)} that keep all limits; accepted is at "
        "most as many"
    )


def largest_path(costs: AddedCost, limits: Sequence[Limit]) -> PathIndices:
    """Return the most expensive architecture that keeps all limits.

    Args:
        costs: The costs of the architectures.
        limits: The limits; at least one architecture keeps them. If all are of the same
            costs, equally expensive ones count as larger with later candidates, and the
            result is exact up to a ten-thousandth of the limit: beyond 20,000 different
            sums, close ones are merged.
    """
    if any(limit.measure is not costs for limit in limits):
        return most_probable(costs.table.choices, limits, 1)[0]
    most = min([costs.maximum, *(limit.most for limit in limits)])
    best: dict[float, PathIndices] = {costs.table.fixed: ()}
    for choice in costs.table.choices:
        longer: dict[float, PathIndices] = {}
        for spent, path in best.items():
            for k, cost in enumerate(choice):
                if allowed(limits, (*path, k)):
                    known = longer.get(spent + cost, ())
                    longer[spent + cost] = max(known, (*path, k))
        best = _fewer(longer, most)
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
