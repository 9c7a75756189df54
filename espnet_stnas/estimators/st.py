"""The straight-through estimator of ST-NAS: one sampled path, sub-graphs, scoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators.base import (
    Estimator,
    Gate,
    build_scoring,
    one_hot,
    probabilities,
    sample,
)
from espnet_stnas.estimators.subgraph import (
    chances_beside,
    check_subgraph_size,
    draw_others,
)


class StraightThrough(Estimator):
    """Runs one sampled path; backward, dLoss/dz serves as dLoss/dpi.

    With z ~ Cat(pi) one-hot and s_k = <dLoss/dy, o_k(x)>,
    dLoss/dalpha_k = pi_k (s_k - sum_j pi_j s_j). The mixing coefficients are
    z + pi - stopgrad(pi) (Zheng et al. 2021, section 3). This is exact for losses that
    are affine in each z, otherwise biased.

    Other estimators of one sampled path are subclasses. They define another
    :meth:`relaxation` or :meth:`draw`.

    By default, every candidate is scored. With a sub-graph, only N of the K candidates
    are scored: the sampled one and N - 1 others, drawn without replacement. The chance
    to be drawn is proportional to the probability (but at least to a thousandth of the
    largest probability). The scores of the others are weighted by the inverse of their
    chance, after subtraction of their expected value
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

    >>> logits = torch.zeros(3, requires_grad=True)
    >>> generator = torch.Generator().manual_seed(0)
    >>> gate = StraightThrough().architecture_gate(logits, generator)
    >>> len(gate.active), len(gate.scored)  # one path runs, the others are scored
    (1, 2)
    >>> gate.coefficients.detach().sum().item()
    1.0
    """

    def __init__(
        self,
        subgraph_size: Optional[int] = None,
        score_dtype: Optional[str] = None,
        score_share: float = 1.0,
    ) -> None:
        check_subgraph_size(subgraph_size)
        self.subgraph_size = subgraph_size
        self.scoring = build_scoring(score_dtype, score_share)

    def relaxation(self, logits: torch.Tensor, path: int) -> torch.Tensor:
        """Return the coefficients c (n,) of a sampled path: one-hot, with sum one.

        Their derivative by the logits defines the estimator; their sum is constant.

        Args:
            logits: Logits (n,) from :meth:`draw`.
            path: Index of the sampled candidate.
        """
        pi = probabilities(logits)
        return one_hot(pi, path) + (pi - pi.detach())

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
        size = self.subgraph_size
        if size is None or size >= len(logits):
            return self.gate(relaxed, path, generator=generator)
        chances = chances_beside(probabilities(logits).detach(), path, size)
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
        inverse = None
        if others is not None:
            if chances is None:
                raise ValueError("a sub-graph needs chances")
            inverse = tuple(1.0 / float(chances[k]) for k in scored)
        return Gate(
            active=(path,),
            coefficients=self.relaxation(logits, path),
            scored=scored,
            inverse_chances=inverse,
            scoring=self.scoring.seeded(generator),
        )
