"""What the estimators that run one sampled path have in common: sub-graphs, scoring."""

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
    """One path forward; a gradient of the logits made from candidates' scores.

    A subclass says by :meth:`relaxation` what the mixing coefficients c(alpha) of a
    sampled path are. By default every candidate is scored. With a sub-graph, N of the
    K candidates are: the sampled one and N - 1 others, drawn without replacement with
    chances in proportion to their probabilities (those below a thousandth of the
    largest count as that). Scores of the others weigh by the inverse of their chance,
    after subtraction of what was to be expected
    (:func:`espnet_stnas.supernet.scores.estimated_scores`): the expectation over the
    draws is that of scoring all.

    Args:
        subgraph_size: Candidates that are scored in a step, N, the sampled one among
            them. A choice with fewer candidates has all of its own scored. None: all.
        score_dtype: ``bfloat16`` or ``float16``: precision of the outputs that are
            made for scores alone; inexact. None: as the output.
        score_share: Share of the utterances that are scored; unbiased, more variance.

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
        """The coefficients c (n,) of a sampled path: value one-hot, sum always one.

        Args:
            logits: Logits (n,) of the candidates that count.
            path: Index of the sampled one.
        """

    def draw(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, int]:
        """Draw a path.

        Args:
            logits: Architecture logits alpha (K,).
            generator: Source of all random draws.

        Returns:
            Logits (K,) that :meth:`relaxation` gets, and the sampled candidate.
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
        """A sampled path with scores of the others; see :class:`Estimator`."""
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
        """The gate of a path and a sub-graph, already drawn.

        Args:
            logits: Logits (K,) as :meth:`draw` returns them.
            path: The sampled candidate.
            others: The other candidates of the sub-graph; None for all.
            chances: Chance (K,) of each candidate to be among them.
            generator: Draws the utterances that are scored.

        Raises:
            ValueError: If a sub-graph comes without chances.
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
        """The chance (K,) of each candidate to be drawn beside the path; sum N - 1.

        Args:
            pi: Probabilities (K,).
            path: The sampled candidate, whose chance is 0.

        Raises:
            ValueError: If there is no sub-graph.
        """
        if self.subgraph_size is None:
            raise ValueError("chances are those of a sub-graph")
        # A candidate without a chance would never be scored, and its inverse chance is
        # a weight.
        weights = pi.clamp(min=SMALLEST_CHANCE * float(pi.max())).double()
        weights[path] = 0.0
        return inclusion_chances(weights, self.subgraph_size - 1)


def seeded(scoring: Scoring, generator: Optional[torch.Generator]) -> Scoring:
    """The same scoring with an own draw of the utterances, if some are left out."""
    if scoring.share >= 1.0 or generator is None:
        return scoring
    seed = int(torch.randint(2**31, (), generator=generator))
    return Scoring(scoring.dtype, scoring.share, seed)


def build_scoring(score_dtype: Optional[str], score_share: float) -> Scoring:
    """Check the options of scoring.

    Raises:
        ConfigError: If one is out of range.
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
    """Chances (K,) in proportion to weights, none above 1, whose sum is ``count``.

    Args:
        weights: Weights (K,), not negative; those of 0 are never drawn. At least
            ``count`` are positive.
        count: Candidates to be drawn.
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

    Systematic sampling (Madow 1949) in random order: chances are laid end to end, and
    a grid of step 1 with a random offset is laid over them. With equal chances every
    subset is equally likely.

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
    """The deterministic part of :func:`draw_others`.

    Args:
        chances: Chance (K,) of each candidate; the sum is a whole number.
        order: The candidates in the order in which their chances are laid end to end.
        offset: Where the grid begins, in [0, 1).
    """
    count = round(float(chances.sum()))
    possible = [k for k in order if chances[k] > 0]
    drawn: list[int] = []
    end = 0.0
    for position, k in enumerate(possible):
        end += float(chances[k])
        # Chances are at most 1: an interval holds at most one point of the grid.
        # Rounding must not leave the last point behind the end.
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
