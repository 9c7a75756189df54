"""ReinMax, a second-order accurate straight-through estimator."""

from __future__ import annotations

import torch

from espnet_stnas.estimators.base import probabilities
from espnet_stnas.estimators.sampled import SampledPath
from espnet_stnas.estimators.st import one_hot


class ReinMax(SampledPath):
    """Heun's method where straight-through is Euler's (Liu et al. 2023, theorem 3.1).

    dLoss/dalpha = 2 J(pi1)^T s - 1/2 J(pi)^T s, with pi1 = (pi + z) / 2 and
    J(p) = diag(p) - p p^T. Exact for losses that are quadratic in each z, else biased
    (arXiv:2304.08612, algorithm 2).

    Args and errors: see :class:`SampledPath`.
    """

    def relaxation(self, logits: torch.Tensor, path: int) -> torch.Tensor:
        """Coefficients (n,) with the Jacobian 2 J(pi1) - J(pi) / 2."""
        pi = probabilities(logits)
        z = one_hot(pi, path)
        # A softmax whose logits are shifted to give pi1 has the Jacobian J(pi1).
        mean = (pi.detach() + z) / 2
        shift = mean.clamp(min=torch.finfo(mean.dtype).tiny).log() - logits.detach()
        pi1 = probabilities(logits + shift)
        return z + 2 * (pi1 - pi1.detach()) - (pi - pi.detach()) / 2
