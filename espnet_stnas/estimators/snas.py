"""SNAS: a random mixture of all candidates."""

from __future__ import annotations

import torch

from espnet_stnas.estimators.base import Gate, gumbel, probabilities
from espnet_stnas.estimators.temperature import Annealed


class SNAS(Annealed):
    """Output sum_k c_k o_k(x) with c = softmax((log pi + Gumbel noise) / tau).

    Xie et al. 2019 (arXiv:1812.09926), equation 4. Both weights and logits learn
    through the mixture. All K candidates run, and all their activations stay in memory.

    Args and errors: see :class:`Annealed`.
    """

    def architecture_gate(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> Gate:
        """Draw a mixture of all candidates; see :class:`Estimator`."""
        noise = gumbel(logits, generator)
        # log pi and alpha differ by a constant, which does not change the softmax.
        c = probabilities((logits + noise) / self.temperature)
        return Gate(active=tuple(range(len(c))), coefficients=c)

    def weight_gate(self, logits: torch.Tensor, generator: torch.Generator) -> Gate:
        """Draw a mixture with constant coefficients (K,), to train weights."""
        return self.architecture_gate(logits.detach(), generator)
