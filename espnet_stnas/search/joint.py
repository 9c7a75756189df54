"""Joint steps: weights and logits learn from one forward and backward."""

from __future__ import annotations

import torch

from espnet_stnas.supernet.steps import LogitLearner
from espnet_stnas.supernet.supernet import Gates


class JointGradients:
    """Takes the architecture gradients out of ESPnet's own weight steps.

    The gates depend on copies of the logits. So ESPnet's loop sees only the gradients
    of the weights (loss scaling, clipping and DDP work as usual). The logits get the
    gradients of the copies after the weights' optimizer has made a step.

    Args:
        learner: Receives the gradients; knows the supernet and the estimator.
    """

    def __init__(self, learner: LogitLearner) -> None:
        self.learner = learner
        self._pending: list[tuple[Gates, list[torch.Tensor]]] = []
        self._scale = 1.0

    def begin(self, loss_scale: float) -> None:
        """Begin an accumulation and drop gradients of one that was skipped.

        Args:
            loss_scale: Factor that ESPnet's loop multiplies the loss by.
        """
        self._pending = []
        self._scale = loss_scale

    def gates(self, generator: torch.Generator) -> Gates:
        """Draw the gates of the next forward.

        Args:
            generator: Source of all random draws.
        """
        learner = self.learner
        if self._pending:
            # DDP overwrites buffers with the buffers of rank 0 before each forward.
            learner.average([])
        copies = [p.detach().clone().requires_grad_() for p in learner.logits]
        gates = learner.supernet.architecture_gates(
            learner.estimator, generator, copies
        )
        self._pending.append((gates, copies))
        return gates

    def accumulate(self) -> None:
        """Pass on the gradients of all forward passes since the beginning."""
        for gates, copies in self._pending:
            gradients = [
                torch.zeros_like(c) if c.grad is None else c.grad / self._scale
                for c in copies
            ]
            # ESPnet's loss already includes the weights of the ranks.
            self.learner.accumulate(
                self.learner.average(gradients), [gate.touched for gate in gates]
            )
        self._pending = []
