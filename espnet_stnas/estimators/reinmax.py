"""ReinMax, a straight-through estimator with second-order accuracy."""

from __future__ import annotations

import torch

from espnet_stnas.estimators.base import one_hot, probabilities
from espnet_stnas.estimators.st import StraightThrough


class ReinMax(StraightThrough):
    """Replaces the Euler step of straight-through by Heun's method.

    dLoss/dalpha = 2 J(pi1)^T s - 1/2 J(pi)^T s, with pi1 = (pi + z) / 2 and
    J(p) = diag(p) - p p^T (Liu et al. 2023, arXiv:2304.08612, theorem 3.1 and algorithm
    2). This is exact for losses that are quadratic in each z, otherwise biased.

    Args and errors: see :class:`StraightThrough`.
    """

    def relaxation(self, logits: torch.Tensor, path: int) -> torch.Tensor:
        """Return coefficients (n,) whose Jacobian is 2 J(pi1) - J(pi) / 2."""
        pi = probabilities(logits)
        z = one_hot(pi, path)
        # A softmax whose logits are shifted to give pi1 has the Jacobian J(pi1).
        mean = (pi.detach() + z) / 2
        shift = mean.clamp(min=torch.finfo(mean.dtype).tiny).log() - logits.detach()
        pi1 = probabilities(logits + shift)
        return z + 2 * (pi1 - pi1.detach()) - (pi - pi.detach()) / 2
