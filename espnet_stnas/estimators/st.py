"""The straight-through estimator of ST-NAS."""

from __future__ import annotations

import torch

from espnet_stnas.estimators.base import probabilities
from espnet_stnas.estimators.sampled import SampledPath


class StraightThrough(SampledPath):
    """One sampled path forward; dLoss/dz taken for dLoss/dpi backward.

    With z ~ Cat(pi) one-hot and s_k = <dLoss/dy, o_k(x)>,
    dLoss/dalpha_k = pi_k (s_k - sum_j pi_j s_j): the mixing coefficients are
    z + pi - stopgrad(pi) (Zheng et al. 2021, section 3). Exact for losses that are
    affine in each z, else biased.

    Args and errors: see :class:`SampledPath`.
    """

    def relaxation(self, logits: torch.Tensor, path: int) -> torch.Tensor:
        """Coefficients z + pi - stopgrad(pi) (n,)."""
        pi = probabilities(logits)
        return one_hot(pi, path) + (pi - pi.detach())


def one_hot(like: torch.Tensor, path: int) -> torch.Tensor:
    """A one-hot vector (n,) of the same kind as another."""
    z = torch.zeros_like(like, requires_grad=False)
    z[path] = 1.0
    return z
