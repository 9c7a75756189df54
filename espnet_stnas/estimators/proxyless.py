"""ProxylessNAS: two sampled paths and their binary gates."""

from __future__ import annotations

from typing import Optional

import torch

from espnet_stnas.estimators.base import (
    Estimator,
    Gate,
    build_scoring,
    one_hot,
    probabilities,
    sample,
)


class Proxyless(Estimator):
    """Two paths drawn from pi; one of them runs; only their two logits learn.

    Cai et al. 2019 (arXiv:1812.00332), section 3.2: the pair is drawn without
    replacement, the active path is drawn from the softmax over the pair, and the
    gradients of the gates pass through that softmax. After the update, both logits are
    shifted by one constant, so that the probabilities of all other candidates stay the
    same.

    Args:
        score_dtype: ``bfloat16`` or ``float16``: precision of the inactive path's
            output; inexact. None: the precision of the block's output.
        score_share: Share of the utterances to score; unbiased, but more variance.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(
        self, score_dtype: Optional[str] = None, score_share: float = 1.0
    ) -> None:
        self.scoring = build_scoring(score_dtype, score_share)

    def architecture_gate(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> Gate:
        """Draw a pair of candidates, one of them active; see :class:`Estimator`."""
        # A probability that underflows to 0 must not prevent the draw of a pair.
        pi = probabilities(logits).detach().double()
        pi = pi.clamp(min=torch.finfo(pi.dtype).tiny)
        pair = torch.multinomial(pi, 2, generator=generator).sort().values
        active = sample(probabilities(logits[pair]), generator)
        return self.gate(logits, pair, active, generator)

    def gate(
        self,
        logits: torch.Tensor,
        pair: torch.Tensor,
        active: int,
        generator: Optional[torch.Generator] = None,
    ) -> Gate:
        """Return the gate of a given pair of candidates, one of them active.

        Args:
            logits: Architecture logits alpha (K,).
            pair: The two candidates (2,).
            active: Position of the running candidate in the pair, 0 or 1.
            generator: Draws the utterances to score.
        """
        p = probabilities(logits[pair])
        gates = one_hot(p, active) + (p - p.detach())
        zeros = torch.zeros(len(logits), dtype=gates.dtype)
        return Gate(
            active=(int(pair[active]),),
            coefficients=zeros.index_add(0, pair, gates),
            scored=(int(pair[1 - active]),),
            scoring=self.scoring.seeded(generator),
        )

    def after_update(
        self, logits: torch.Tensor, before: torch.Tensor, touched: frozenset[int]
    ) -> None:
        """Restore the probabilities of the candidates that were not drawn.

        An optimizer with momentum moves all logits, so the others are set back. See
        :class:`Estimator`.
        """
        drawn = torch.zeros_like(logits, dtype=torch.bool)
        drawn[sorted(touched)] = True
        if not touched:
            return
        shift = before[drawn].logsumexp(0) - logits[drawn].logsumexp(0)
        logits.copy_(torch.where(drawn, logits + shift, before))
