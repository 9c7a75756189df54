"""The most probable architectures that keep limits: exact, without sampling.

The logarithm of the probability of an architecture is a sum over choices, and so are
most costs. Branch and bound decides the choices one after the other. A beginning is
given up if its cheapest end exceeds a limit, or if its most probable end is no better
than what is known. The second bound also charges for costs (Lagrange multipliers, from
subgradient steps): it holds for any charges, and good ones let it be tight.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from typing import Optional

from espnet_stnas.selection.limits import AddedCost, Limit, allowed
from espnet_stnas.selection.paths import PathIndices

# Files of architectures have six digits, so that smaller probabilities are zero there.
_SMALLEST = 2.5e-7
_STEPS = 100
# Bounds and values are sums in different orders.
_TOLERANCE = 1e-9

LogProbabilities = Sequence[Sequence[float]]


def log_probabilities(pi: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return logarithms of the probabilities of all choices.

    Probabilities that were rounded to zero count as half of the smallest one.
    """
    return [[math.log(max(p, _SMALLEST)) for p in choice] for choice in pi]


def log_probability(log_pi: LogProbabilities, path: PathIndices) -> float:
    """Return the logarithm of the probability of an architecture."""
    return sum(logs[k] for logs, k in zip(log_pi, path, strict=True))


def most_probable(
    log_pi: LogProbabilities, limits: Sequence[Limit], top: int = 1
) -> list[PathIndices]:
    """Return the most probable architectures that keep all limits, the best first.

    Of equally probable ones, any are returned, the same ones each time.

    Args:
        log_pi: Logarithms of the probabilities of all choices, in order.
        limits: The limits.
        top: How many architectures to return, at most.

    >>> pi = [[0.8, 0.2], [0.4, 0.6]]
    >>> most_probable(log_probabilities(pi), [], 3)
    [(0, 1), (0, 0), (1, 1)]
    """
    return _Search(log_pi, limits, top).run()


class _Search:
    def __init__(
        self, log_pi: LogProbabilities, limits: Sequence[Limit], top: int
    ) -> None:
        self.log_pi = log_pi
        self.limits = limits
        self.top = top
        # The best ones, the worst of them first.
        self.found: list[tuple[float, PathIndices]] = []
        added = [
            (limit.measure.table, limit.most)
            for limit in limits
            if isinstance(limit.measure, AddedCost)
        ]
        # What is left for the choices, and the costs of candidates as shares of it.
        self.costs = [
            [[c / most for c in costs] for costs in table.choices]
            for table, most in added
        ]
        self.budgets = [1.0 - table.fixed / most for table, most in added]
        free = _Bound(self, [0.0] * len(added))
        self.bounds = [free]
        if added:
            self.bounds.append(self._charged(free))

    def _charged(self, best: _Bound) -> _Bound:
        """Return the tightest bound of some subgradient steps on the charges."""
        charges = [0.0] * len(self.budgets)
        for step in range(1, _STEPS + 1):
            bound = _Bound(self, charges)
            best = min(best, bound, key=lambda b: b.rest[0])
            spent = bound.spent()
            charges = [
                max(0.0, charge + 10.0 / step * (cost - budget))
                for charge, cost, budget in zip(
                    charges, spent, self.budgets, strict=True
                )
            ]
        return best

    def run(self) -> list[PathIndices]:
        starts = [bound.start for bound in self.bounds]
        self._visit((), 0.0, starts)
        return [path for _, path in sorted(self.found, key=lambda f: (-f[0], f[1]))]

    def _visit(self, prefix: PathIndices, value: float, charged: list[float]) -> None:
        depth = len(prefix)
        if depth == len(self.log_pi):
            entry = value, prefix
            if len(self.found) < self.top:
                heapq.heappush(self.found, entry)
            else:
                heapq.heappushpop(self.found, entry)
            return
        last = self.bounds[-1].values[depth]
        for k in sorted(range(len(last)), key=lambda k: -last[k]):
            longer = (*prefix, k)
            totals = [
                total + bound.values[depth][k]
                for total, bound in zip(charged, self.bounds, strict=True)
            ]
            most = min(
                total + bound.rest[depth + 1]
                for total, bound in zip(totals, self.bounds, strict=True)
            )
            full = len(self.found) == self.top
            if full and most <= self.found[0][0] + _TOLERANCE:
                continue
            if allowed(self.limits, longer):
                self._visit(longer, value + self.log_pi[depth][k], totals)


class _Bound:
    """An upper bound of log-probabilities in which costs are charged for.

    For an architecture that keeps all limits, sum_j charge_j (budget_j - cost_j) is not
    negative, so adding it to the log-probability gives an upper bound.
    """

    def __init__(self, search: _Search, charges: Sequence[float]) -> None:
        self.search = search
        self.start = sum(c * b for c, b in zip(charges, search.budgets, strict=True))
        self.values = [
            [
                logs[k]
                - sum(
                    charge * costs[depth][k]
                    for charge, costs in zip(charges, search.costs, strict=True)
                )
                for k in range(len(logs))
            ]
            for depth, logs in enumerate(search.log_pi)
        ]
        rest = [0.0]
        for row in reversed(self.values):
            rest.append(rest[-1] + max(row))
        self.rest = rest[::-1]
        # The bound of all architectures, for comparisons.
        self.rest[0] += self.start

    def spent(self) -> list[float]:
        """Return the costs of the architecture that has the bound."""
        best = [row.index(max(row)) for row in self.values]
        return [
            sum(row[k] for row, k in zip(costs, best, strict=True))
            for costs in self.search.costs
        ]


def draw(
    log_pi: LogProbabilities,
    limits: Sequence[Limit],
    generator: random.Random,
) -> Optional[PathIndices]:
    """Draw an architecture choice by choice, by probability.

    At each choice, only candidates count with which the limits can still be kept, as
    far as each limit by itself tells.

    Args:
        log_pi: Logarithms of the probabilities of all choices, in order.
        limits: The limits.
        generator: Source of the draws.

    Returns:
        The architecture; None if the limits cannot be kept after some choices.
    """
    path: PathIndices = ()
    for logs in log_pi:
        possible = [k for k in range(len(logs)) if allowed(limits, (*path, k))]
        if not possible:
            return None
        weights = [math.exp(logs[k]) for k in possible]
        path = (*path, generator.choices(possible, weights)[0])
    return path
