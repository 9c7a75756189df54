"""The architecture gradient of a supernet, and how near estimates come to it.

The gradient of E_z[Loss(z)] with respect to the logits of a choice is
pi_k (E[Loss | z = k] - E[Loss]). The conditional means come from an additive model that
is fitted to the losses of paths drawn from pi: since choices are drawn independently,
its effects are the conditional means, and it needs fewer paths than their plain
averages. Standard errors are those of a jackknife over groups of paths and of steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from espnet_stnas.estimators import Estimator
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.supernet.supernet import Supernet, frozen_weights

GROUPS = 20


class Problem(Protocol):
    """A supernet with its data, in evaluation mode."""

    model: torch.nn.Module
    supernet: Supernet
    count: int
    """Number of batches."""

    def losses(self, paths: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Return the loss of each path on each batch (P, B)."""

    def loss(self, batch: int) -> torch.Tensor:
        """Return the loss () of one batch with the gates of the supernet."""


@dataclass(frozen=True)
class Value:
    """A number with its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.error:.2f}"


class Paths:
    """Paths drawn from pi, and their losses.

    Args:
        problem: The supernet.
        count: How many to draw; a multiple of ``GROUPS``.
        seed: Seed of the draws.
    """

    def __init__(self, problem: Problem, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.pi = [p.double() for p in problem.supernet.probabilities()]
        drawn = [
            torch.multinomial(p, count, replacement=True, generator=generator)
            for p in self.pi
        ]
        paths = list(zip(*(choice.tolist() for choice in drawn), strict=True))
        self.losses = problem.losses(paths).double()
        # (P, V): a column for each candidate of each choice.
        self.z = torch.cat(
            [
                torch.nn.functional.one_hot(choice, len(p)).double()
                for choice, p in zip(drawn, self.pi, strict=True)
            ],
            dim=1,
        )
        self.group = torch.arange(count) % GROUPS


class Exact:
    """The architecture gradient, and how additive the loss is.

    Args:
        paths: Paths and their losses.
    """

    def __init__(self, paths: Paths) -> None:
        self.pi = paths.pi
        values = paths.losses.mean(1)
        self.gradient, share = self._fit(paths.z, values)
        rows, shares = [], []
        for group in range(GROUPS):
            kept = paths.group != group
            row, other = self._fit(paths.z[kept], values[kept])
            rows.append(row)
            shares.append(other)
        self.without = torch.stack(rows)
        """The gradient without each group of paths (GROUPS, V)."""
        self.additive = Value(share, _jackknife(torch.tensor(shares)))
        # What is left of the squared norm without the noise's own.
        self.noise = float(_jackknife_squares(self.without).sum())
        self.square = float(self.gradient @ self.gradient) - self.noise

    @property
    def relative_error(self) -> float:
        """The standard error of the gradient, relative to its norm."""
        return math.sqrt(self.noise / max(self.square, 1e-30))

    def _fit(self, z: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Return the gradient (V,), and the share of variance that is additive."""
        centred = values - values.mean()
        design = torch.cat([torch.ones(len(z), 1, dtype=z.dtype), z], dim=1)
        # gelsd takes the smallest solution: columns of a choice add up to one.
        found = torch.linalg.lstsq(design, centred[:, None], driver="gelsd")
        weights = found.solution[:, 0]
        rest = float((centred - design @ weights).square().sum())
        freedom = len(z) - int(found.rank)
        total = float(centred.square().sum()) / (len(z) - 1)
        gradient = []
        for pi, effects in zip(
            self.pi, weights[1:].split([len(p) for p in self.pi]), strict=True
        ):
            gradient.append(pi * (effects - pi @ effects))
        return torch.cat(gradient), 1 - rest / freedom / total

    def cosine(self, groups: torch.Tensor) -> Value:
        """Return the cosine of an expected estimate to the gradient, without bias.

        Args:
            groups: Means of groups of estimates (GROUPS, V), equally large.
        """
        value = _cosine(self.gradient, self.square, groups)
        errors = 0.0
        others = [
            _cosine(row, float(row @ row) - self.noise, groups) for row in self.without
        ]
        errors += _jackknife(torch.tensor(others)) ** 2
        keep = ~torch.eye(len(groups), dtype=torch.bool)
        others = [_cosine(self.gradient, self.square, groups[row]) for row in keep]
        errors += _jackknife(torch.tensor(others)) ** 2
        return Value(value, math.sqrt(errors))

    def cosine_of_steps(self, steps: torch.Tensor) -> Value:
        """Return the mean cosine of single estimates (D, V) to the gradient."""
        norms = steps.norm(dim=1).clamp(min=1e-30)
        found = steps @ self.gradient / norms / math.sqrt(max(self.square, 1e-30))
        return Value(float(found.mean()), float(found.std() / math.sqrt(len(found))))


def _cosine(gradient: torch.Tensor, square: float, groups: torch.Tensor) -> float:
    mean = groups.mean(0)
    noise = float(groups.var(0).sum()) / len(groups)
    product = square * (float(mean @ mean) - noise)
    return float(gradient @ mean) / math.sqrt(product) if product > 0 else math.nan


def _jackknife(values: torch.Tensor) -> float:
    return math.sqrt(float(_jackknife_squares(values.double()[:, None]).sum()))


def _jackknife_squares(values: torch.Tensor) -> torch.Tensor:
    """Return squared standard errors (V,) from values without each group (G, V)."""
    return (len(values) - 1) * values.var(0, unbiased=False)


def estimates(
    problem: Problem, estimator: Estimator, seed: int
) -> Iterator[torch.Tensor]:
    """Yield architecture gradients (V,), each of one step on one batch.

    Args:
        problem: The supernet.
        estimator: The estimator.
        seed: Seed of batches and draws.
    """
    generator = torch.Generator().manual_seed(seed)
    supernet, logits = problem.supernet, problem.supernet.logits
    while True:
        batch = int(torch.randint(problem.count, (), generator=generator))
        gates = supernet.architecture_gates(estimator, generator)
        with (
            supernet.routed(gates),
            frozen_weights(problem.model, logits),
            frozen_statistics(problem.model),
        ):
            loss = problem.loss(batch)
        found = torch.autograd.grad(loss, logits, allow_unused=True)
        yield torch.cat(
            [
                (torch.zeros_like(a) if g is None else g).double()
                for a, g in zip(logits, found, strict=True)
            ]
        )


def reinforced(paths: Paths, together: int, steps: int, seed: int) -> torch.Tensor:
    """Return leave-one-out REINFORCE estimates (GROUPS, steps, V).

    Each has one batch and several paths; the baseline of a path is the mean loss of the
    others (Kool et al. 2019, Buy 4 REINFORCE samples).

    Args:
        paths: Paths and their losses; a group makes its estimates of its own ones.
        together: Paths of a step.
        steps: Steps of a group.
        seed: Seed of the choice of paths and batches.
    """
    generator = torch.Generator().manual_seed(seed)
    pi = torch.cat(paths.pi)
    found = []
    for group in range(GROUPS):
        own = torch.nonzero(paths.group == group)[:, 0]
        for _ in range(steps):
            order = torch.randperm(len(own), generator=generator)[:together]
            batch = torch.randint(paths.losses.size(1), (), generator=generator)
            losses = paths.losses[own[order], batch]
            # L_i minus the mean of the others.
            centred = (losses - losses.mean()) * together / (together - 1)
            found.append(centred @ (paths.z[own[order]] - pi) / together)
    return torch.stack(found).view(GROUPS, steps, -1)
