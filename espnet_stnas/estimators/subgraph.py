"""Sub-graphs: draw a few of the candidates that were not sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from espnet_stnas.errors import ConfigError

SMALLEST_CHANCE = 1e-3


def chances_beside(pi: torch.Tensor, path: int, size: int) -> torch.Tensor:
    """Return the chance (K,) of each candidate to be drawn next to the path.

    The chances sum to ``size`` - 1.

    Args:
        pi: Probabilities (K,).
        path: The sampled candidate; its chance is 0.
        size: Number of candidates of the sub-graph, with the sampled one.
    """
    # A candidate with chance 0 would never be scored, and 1 / chance is a weight.
    weights = pi.clamp(min=SMALLEST_CHANCE * float(pi.max())).double()
    weights[path] = 0.0
    return inclusion_chances(weights, size - 1)


def inclusion_chances(weights: torch.Tensor, count: int) -> torch.Tensor:
    """Return chances (K,) proportional to weights, at most 1, whose sum is ``count``.

    Args:
        weights: Weights (K,), not negative, at least ``count`` of them positive. A
            candidate with weight 0 is never drawn.
        count: Number of candidates to draw.

    >>> inclusion_chances(torch.tensor([8.0, 1.0, 1.0]), 2).tolist()
    [1.0, 0.5, 0.5]
    """
    certain = torch.zeros_like(weights, dtype=torch.bool)
    while True:
        left = torch.where(certain, torch.zeros_like(weights), weights)
        chances = torch.where(
            certain,
            torch.ones_like(weights),
            left * (count - int(certain.sum())) / left.sum(),
        )
        above = chances > 1.0
        if not above.any():
            return chances
        certain |= above


def draw_others(chances: torch.Tensor, generator: torch.Generator) -> tuple[int, ...]:
    """Draw candidates without replacement, each with its own chance.

    This is systematic sampling (Madow 1949) in random order: the chances are laid end
    to end as intervals, and a grid of step 1 with a random offset selects the intervals
    that contain a grid point. With equal chances, every subset is equally likely.

    Args:
        chances: Chance (K,) of each candidate; the sum is a whole number.
        generator: Source of all random draws.
    """
    order = torch.randperm(len(chances), generator=generator)
    offset = torch.rand((), dtype=torch.float64, generator=generator)
    return systematic(chances, order.tolist(), float(offset))


def systematic(
    chances: torch.Tensor, order: Sequence[int], offset: float
) -> tuple[int, ...]:
    """Return the candidates for a given order and offset; see :func:`draw_others`.

    Args:
        chances: Chance (K,) of each candidate; the sum is a whole number.
        order: Order of the candidates' intervals.
        offset: Position of the first grid point, in [0, 1).
    """
    count = round(float(chances.sum()))
    possible = [k for k in order if chances[k] > 0]
    drawn: list[int] = []
    end = 0.0
    for position, k in enumerate(possible):
        end += float(chances[k])
        # Chances are at most 1, so an interval contains at most one grid point.
        # Rounding must not put the last grid point behind the last interval.
        hit = offset + len(drawn) < end
        needed = count - len(drawn) == len(possible) - position
        if len(drawn) < count and (hit or needed):
            drawn.append(k)
    return tuple(drawn)


def check_subgraph_size(size: Any) -> None:
    """Refuse an option ``subgraph_size`` that is not a number of two or more.

    Raises:
        ConfigError: If it is neither None nor accepted.
    """
    if size is None:
        return
    if type(size) is not int or size < 2:
        raise ConfigError(
            f"estimator_conf: subgraph_size is {size!r}; accepted is an integer from 2 "
            "to the number of candidates (with the sampled candidate alone, no logit "
            "would get a gradient)"
        )
