"""Straight-through Gumbel-softmax."""

from __future__ import annotations

import torch

from espnet_stnas.estimators.base import gumbel
from espnet_stnas.estimators.st import StraightThrough
from espnet_stnas.estimators.temperature import Annealed


class GumbelStraightThrough(Annealed, StraightThrough):
    """Arg-max of alpha + Gumbel noise forward, softmax((alpha + noise) / tau) backward.

    Jang et al. 2017 (arXiv:1611.01144), section 2.2. The path has the distribution pi.

    Args and errors: see :class:`Annealed` and :class:`StraightThrough`.
    """

    def draw(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, int]:
        """Return (logits + noise) / temperature (K,), and their arg-max."""
        perturbed = logits + gumbel(logits, generator)
        return perturbed / self.temperature, int(perturbed.argmax())
