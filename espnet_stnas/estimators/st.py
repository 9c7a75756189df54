"""The straight-through estimator of ST-NAS."""

from __future__ import annotations

import torch

from espnet_stnas.estimators.base import Estimator, Gate, probabilities, sample


class StraightThrough(Estimator):
    """One sampled path forward; dLoss/dz taken for dLoss/dpi backward.

    With z ~ Cat(pi) one-hot and s_k = <dLoss/dy, o_k(x)>,
    dLoss/dalpha_k = pi_k (s_k - sum_j pi_j s_j): the mixing coefficients are
    z + pi - stopgrad(pi) (Zheng et al. 2021, section 3).
    """

    def architecture_gate(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> Gate:
        """A path drawn from pi; every candidate is scored."""
        pi = probabilities(logits)
        path = sample(pi, generator)
        one_hot = torch.zeros_like(pi)
        one_hot[path] = 1.0
        return Gate(
            active=(path,),
            coefficients=one_hot + (pi - pi.detach()),
            scored=tuple(k for k in range(len(pi)) if k != path),
        )
