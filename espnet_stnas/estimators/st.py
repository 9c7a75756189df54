"""The straight-through estimator of ST-NAS."""

from __future__ import annotations

import torch

from espnet_stnas.estimators.base import probabilities
from espnet_stnas.estimators.sampled import SampledPath


class StraightThrough(SampledPath):
    """Runs one sampled path; backward, dLoss/dz serves as dLoss/dpi.

    With z ~ Cat(pi) one-hot and s_k = <dLoss/dy, o_k(x)>,
    dLoss/dalpha_k = pi_k (s_k - sum_j pi_j s_j). The mixing coefficients are
    z + pi - stopgrad(pi) (Zheng et al. 2021, section 3). This is exact for losses that
    are affine in each z, otherwise biased.

    Args and errors: see :class:`SampledPath`.

    >>> logits = torch.zeros(3, requires_grad=True)
    >>> generator = torch.Generator().manual_seed(0)
    >>> gate = StraightThrough().architecture_gate(logits, generator)
    >>> len(gate.active), len(gate.scored)  # one path runs, the others are scored
    (1, 2)
    >>> gate.coefficients.detach().sum().item()
    1.0
    """

    def relaxation(self, logits: torch.Tensor, path: int) -> torch.Tensor:
        """Return the coefficients z + pi - stopgrad(pi) (n,)."""
        pi = probabilities(logits)
        return one_hot(pi, path) + (pi - pi.detach())


def one_hot(like: torch.Tensor, path: int) -> torch.Tensor:
    """Return a one-hot vector (n,) with the type and device of another vector."""
    z = torch.zeros_like(like, requires_grad=False)
    z[path] = 1.0
    return z
