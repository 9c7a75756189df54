"""Joint steps: weights and logits learn from one forward and backward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from espnet2.train.reporter import SubReporter

from espnet_stnas.search.logit_update import LogitUpdate
from espnet_stnas.search.ranks import mean_over_ranks
from espnet_stnas.supernet.supernet import Gates


class JointStep:
    """Takes the architecture gradients out of ESPnet's own weight steps.

    The gates depend on copies of the logits. So ESPnet's loop sees the gradients of
    the weights alone (loss scaling, clipping and DDP treat them as ever), and those of
    the copies update the logits whenever the weights' optimizer has made a step.

    Args:
        update: Updates the logits, knows the supernet and the estimator.
        weight_optimizer: Optimizer of the weights.
        scaler: Loss scaler of mixed precision, or None.
        reporter: Gets gradient norm and learning rate.
        distributed: Whether gradients are to be averaged over processes.
    """

    def __init__(
        self,
        update: LogitUpdate,
        *,
        weight_optimizer: torch.optim.Optimizer,
        scaler: Any,
        reporter: SubReporter,
        distributed: bool,
    ) -> None:
        self.update = update
        self.weight_optimizer = weight_optimizer
        self.scaler = scaler
        self.reporter = reporter
        self.distributed = distributed
        self._pending: list[tuple[Gates, list[torch.Tensor], Sequence[str]]] = []
        self._scale = 1.0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Update the logits after each step of the weights' optimizer."""
        handle = self.weight_optimizer.register_step_post_hook(self._after_weights)
        try:
            yield
        finally:
            handle.remove()

    def gates(
        self,
        generator: torch.Generator,
        *,
        first: bool,
        utterances: Sequence[str] = (),
    ) -> Gates:
        """Draw the gates of the next forward.

        Args:
            generator: Source of all random draws.
            first: Whether an accumulation begins. What is left of one whose update was
                skipped is dropped.
            utterances: The utterance ids of its batch.
        """
        if first:
            self._pending = []
            # The loop may change it between backward and update.
            self._scale = 1.0 if self.scaler is None else float(self.scaler.get_scale())
        elif self.distributed:
            # DDP overwrites buffers by those of rank 0 before each forward.
            self._average([])
        supernet = self.update.supernet
        copies = [p.detach().clone().requires_grad_() for p in supernet.logits]
        gates = supernet.architecture_gates(self.update.estimator, generator, copies)
        self._pending.append((gates, copies, utterances))
        return gates

    def _after_weights(self, *_: Any) -> None:
        for gates, copies, utterances in self._pending:
            gradients = [
                torch.zeros_like(c) if c.grad is None else c.grad / self._scale
                for c in copies
            ]
            if self.distributed:
                gradients = self._average(gradients)
            self.update.accumulate(gradients, gates, utterances)
        self._pending = []
        self.reporter.register(self.update())

    def _average(self, gradients: list[torch.Tensor]) -> list[torch.Tensor]:
        """Average gradients, and in place what sub-graphs keep, over the ranks."""
        offsets = self.update.supernet.score_offsets
        # ESPnet's loss already holds the weights of the ranks.
        means = mean_over_ranks([*gradients, *offsets])
        for offset, mean in zip(offsets, means[len(gradients) :], strict=True):
            offset.copy_(mean)
        return means[: len(gradients)]
