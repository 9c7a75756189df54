"""The base class of estimators that run one sampled path: sub-graphs and scoring."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators.base import Estimator, Gate, Scoring, probabilities, sample

SMALLEST_CHANCE = 1e-3
SCORE_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class SampledPath(Estimator):
    """Runs one path and computes the gradient of the logits from candidates' scores.

    A subclass defines the mixing coefficients c(alpha) of a sampled path in
    :meth:`relaxation`. By default, every candidate is scored. With a sub-graph, only N
    of the K candidates are scored: the sampled one and N - 1 others, drawn without
    replacement. The chance to be drawn is proportional to the probability (but at least
    to a thousandth of the largest probability). The scores of the others are weighted
    by the inverse of their chance, after subtraction of their expected value
    (:func:`espnet_stnas.supernet.scores.estimated_scores`). So the expectation over the
    draws equals the scores of all candidates.

    Args:
        subgraph_size: Number N of candidates to score in a step, including the sampled
            one. A choice with fewer candidates scores all of them. None: all.
        score_dtype: ``bfloat16`` or ``float16``: precision of the outputs that are only
            computed for scores; inexact. None: the precision of the block's output.
        score_share: Share of the utterances to score; unbiased, but more variance.

    Raises:
        ConfigError: If an option is out of range or has no effect.
    """

    def __init__(
        self,
        subgraph_size: Optional[int] = None,
        score_dtype: Optional[str] = None,
        score_share: float = 1.0,
    ) -> None:
        _check_subgraph(subgraph_size)
        self.subgraph_size = subgraph_size
        self.scoring = build_scoring(score_dtype, score_share)

    @abstractmethod
    def relaxation(self, logits: torch.Tensor, path: int) -> torch.Tensor:
        """Return the coefficients c (n,) of a sampled path: one-hot, with sum one.

        Their derivative by the logits defines the estimator; their sum is constant.

        Args:
            logits: Logits (n,) of the candidates to score.
            path: Index of the sampled candidate.
        """

    def draw(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, int]:
        """Draw a path.

        Args:
            logits: Architecture logits alpha (K,).
            generator: Source of all random draws.

        Returns:
            Logits (K,) for :meth:`relaxation`, and the sampled candidate.
        """
        return logits, sample(probabilities(logits), generator)

    def check(self, sizes: Sequence[int]) -> None:
        """Refuse a sub-graph larger than every choice; see :class:`Estimator`."""
        if self.subgraph_size is not None and self.subgraph_size > max(sizes):
            raise ConfigError(
                f"estimator_conf: subgraph_size is {self.subgraph_size}, but no choice "
                f"has more than {max(sizes)} candidates; accepted is an integer from 2 "
                f"to {max(sizes)}"
            )

    def architecture_gate(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> Gate:
        """Draw a path that scores the other candidates; see :class:`Estimator`."""
        relaxed, path = self.draw(logits, generator)
        if self.subgraph_size is None or self.subgraph_size >= len(logits):
            return self.gate(relaxed, path, generator=generator)
        chances = self.chances(probabilities(logits).detach(), path)
        others = draw_others(chances, generator)
        return self.gate(relaxed, path, others, chances, generator=generator)

    def gate(
        self,
        logits: torch.Tensor,
        path: int,
        others: Optional[Sequence[int]] = None,
        chances: Optional[torch.Tensor] = None,
        *,
        generator: Optional[torch.Generator] = None,
    ) -> Gate:
        """Return the gate of a given path and sub-graph.

        Args:
            logits: Logits (K,) from :meth:`draw`.
            path: The sampled candidate.
            others: The other candidates of the sub-graph; None for all.
            chances: Chance (K,) of each candidate to be among ``others``.
            generator: Draws the utterances to score.

        Raises:
            ValueError: If there is a sub-graph but no chances.
        """
        everyone = tuple(k for k in range(len(logits)) if k != path)
        scored = everyone if others is None else tuple(sorted(others))
        weights = None
        if others is not None:
            if chances is None:
                raise ValueError("a sub-graph needs chances")
            weights = tuple(1.0 / float(chances[k]) for k in scored)
        return Gate(
            active=(path,),
            coefficients=self.relaxation(logits, path),
            scored=scored,
            inverse_chances=weights,
            scoring=seeded(self.scoring, generator),
        )

    def chances(self, pi: torch.Tensor, path: int) -> torch.Tensor:
        """Return the chance (K,) of each candidate to be drawn next to the path.

        The chances sum to N - 1.

        Args:
            pi: Probabilities (K,).
            path: The sampled candidate; its chance is 0.

        Raises:
            ValueError: If no sub-graph is used.
        """
        if self.subgraph_size is None:
            raise ValueError("chances are those of a sub-graph")
        # A candidate with chance 0 would never be scored, and 1 / chance is a weight.
        weights = pi.clamp(min=SMALLEST_CHANCE * float(pi.max())).double()
        weights[path] = 0.0
        return inclusion_chances(weights, self.subgraph_size - 1)


def seeded(scoring: Scoring, generator: Optional[torch.Generator]) -> Scoring:
    """Return the scoring with a newly drawn seed, if it leaves out utterances."""
    if scoring.share >= 1.0 or generator is None:
        return scoring
    seed = int(torch.randint(2**31, (), generator=generator))
    return Scoring(scoring.dtype, scoring.share, seed)


def build_scoring(score_dtype: Optional[str], score_share: float) -> Scoring:
    """Check the options of scoring and build it.

    Raises:
        ConfigError: If an option is out of range.
    """
    if score_dtype is not None and score_dtype not in SCORE_DTYPES:
        raise ConfigError(
            f"estimator_conf: score_dtype is {score_dtype!r}; accepted are: "
            f"{', '.join(SCORE_DTYPES)}"
        )
    number = isinstance(score_share, (int, float)) and type(score_share) is not bool
    if not number or not 0.0 < score_share <= 1.0:
        raise ConfigError(
            f"estimator_conf: score_share is {score_share!r}; accepted is a number "
            "above 0, up to 1"
        )
    dtype = None if score_dtype is None else SCORE_DTYPES[score_dtype]
    return Scoring(dtype, float(score_share))


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


def _check_subgraph(size: Optional[int]) -> None:
    if size is None:
        return
    if type(size) is not int or size < 2:
        raise ConfigError(
            f"estimator_conf: subgraph_size is {size!r}; accepted is an integer from 2 "
            "to the number of candidates (with the sampled candidate alone, no logit "
            "would get a gradient)"
        )
