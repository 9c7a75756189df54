"""Costs that add up: a fixed part and a number for every candidate of every choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.provenance import COST_UNITS


@dataclass(frozen=True)
class CostTable:
    """One kind of cost for all architectures of a space.

    The cost of an architecture is ``fixed`` plus one number for each choice.

    Args:
        kind: ``params``, ``macs``, ``latency`` or ``lookahead``.
        fixed: The cost of all fixed layers.
        choices: For each choice, the cost of each candidate, summed over the layers
            that share the choice: (c_11, ..., c_1K), (c_21, ...), ...

    >>> table = CostTable("params", fixed=10.0, choices=((2.0, 6.0), (1.0, 3.0)))
    >>> table.minimum, table.of([1, 0]), table.maximum
    (13.0, 17.0, 19.0)
    >>> pi = [torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])]
    >>> table.expected_cost(pi).item()
    15.0
    """

    kind: str
    fixed: float
    choices: tuple[tuple[float, ...], ...]

    @classmethod
    def from_layers(
        cls, kind: str, space: SearchSpace, costs: Sequence[Sequence[float]]
    ) -> CostTable:
        """Add up the costs of layers.

        Args:
            kind: ``params``, ``macs``, ``latency`` or ``lookahead``.
            space: A search space or an architecture.
            costs: For each layer, the cost of each candidate.
        """
        fixed = 0.0
        sums = [[0.0] * len(choice.candidates) for choice in space.choices]
        for number, layer in zip(space.choice_numbers, costs, strict=True):
            if number is None:
                fixed += layer[0]
            else:
                for k, cost in enumerate(layer):
                    sums[number][k] += cost
        return cls(kind, fixed, tuple(map(tuple, sums)))

    def of(self, indices: Sequence[int]) -> float:
        """Return the cost of the architecture with these candidate indices."""
        chosen = zip(self.choices, indices, strict=True)
        return self.fixed + sum(costs[k] for costs, k in chosen)

    def expected_cost(self, pi: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the expected cost (), fixed + sum_l sum_k pi_lk c_lk, in float64.

        Args:
            pi: The probabilities of all choices, in order: (K_1,), (K_2,), ...
        """
        total = torch.tensor(self.fixed, dtype=torch.float64)
        for costs, p in zip(self.choices, pi, strict=True):
            c = torch.tensor(costs, dtype=torch.float64, device=p.device)
            total = total.to(p.device) + (p.double() * c).sum()
        return total

    @property
    def cheapest(self) -> tuple[int, ...]:
        """The candidate indices of the cheapest architecture (the first of equals)."""
        return tuple(costs.index(min(costs)) for costs in self.choices)

    @property
    def minimum(self) -> float:
        """The cost of the cheapest architecture."""
        return self.of(self.cheapest)

    @property
    def maximum(self) -> float:
        """The cost of the most expensive architecture."""
        return self.fixed + sum(max(costs) for costs in self.choices)


def with_unit(kind: str, cost: float) -> str:
    """Format a cost with its unit, such as ``8,000,000 parameters``."""
    if kind == "lookahead":
        return f"{cost:,.10g} {COST_UNITS[kind]}"
    digits = 1 if kind == "latency" else 0
    return f"{cost:,.{digits}f} {COST_UNITS[kind]}"


def same_operation(space: SearchSpace, op: str) -> tuple[int, ...]:
    """Return the indices of the architecture with one operation in every choice.

    Args:
        space: The search space.
        op: The operation in its canonical short form.

    Raises:
        ConfigError: If a choice does not have this candidate.
    """
    indices = []
    for index, choice in zip(space.first_layers, space.choices, strict=True):
        names = [str(candidate) for candidate in choice.candidates]
        if op not in names:
            raise ConfigError(
                f"'{op}' is no candidate of {space.layer_name(index)}; accepted is one "
                f"that every choice has, and this one has {', '.join(names)}"
            )
        indices.append(names.index(op))
    return tuple(indices)
