"""Uniform paths: warm-up, single-path one-shot training, random search."""

from __future__ import annotations

import torch

from espnet_stnas.estimators.base import Estimator, Gate, sample


class Uniform(Estimator):
    """Draws every candidate with probability 1/K; the logits do not learn.

    Guo et al. 2020, single-path one-shot (arXiv:1904.00420).
    """

    learns = False

    def architecture_gate(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> Gate:
        """Draw a path without a gradient; see :class:`Estimator`."""
        return self.weight_gate(logits, generator)

    def weight_gate(self, logits: torch.Tensor, generator: torch.Generator) -> Gate:
        """Draw a path uniformly, whatever the logits (K,) are."""
        return Gate(active=(sample(torch.ones(len(logits)), generator),))
