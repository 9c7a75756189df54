"""One update of the architecture logits from their accumulated gradients."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from espnet2.train.trainer import TrainerOptions

from espnet_stnas.estimators import Estimator, Gate
from espnet_stnas.supernet import Supernet


class LogitUpdate:
    """Clips the gradients of the logits and steps their optimizer.

    Args:
        supernet: The supernet.
        estimator: May correct an update.
        optimizer: Optimizer of the logits.
        scheduler: Its scheduler, or None.
        options: Options of the trainer: clipping.
    """

    def __init__(
        self,
        supernet: Supernet,
        estimator: Estimator,
        *,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        options: TrainerOptions,
    ) -> None:
        self.supernet = supernet
        self.estimator = estimator
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.options = options
        self._touched: list[frozenset[int]] = [frozenset() for _ in supernet.logits]

    def accumulate(
        self, gradients: Sequence[torch.Tensor], gates: Sequence[Gate]
    ) -> None:
        """Add gradients (K_1,), (K_2,), ... that these gates led to."""
        for logits, gradient in zip(self.supernet.logits, gradients, strict=True):
            logits.grad = gradient if logits.grad is None else logits.grad + gradient
        self._touched = [
            touched | gate.touched
            for touched, gate in zip(self._touched, gates, strict=True)
        ]

    def __call__(self) -> dict[str, float]:
        """Update, unless the gradient is not finite.

        Returns:
            Statistics to report.
        """
        logits = self.supernet.logits
        norm = torch.nn.utils.clip_grad_norm_(
            logits,
            max_norm=self.options.grad_clip,
            norm_type=self.options.grad_clip_type,
        )
        finite = bool(torch.isfinite(norm))
        if finite:
            before = [p.detach().clone() for p in logits]
            self.optimizer.step()
            with torch.no_grad():
                for p, b, touched in zip(logits, before, self._touched, strict=True):
                    self.estimator.after_update(p, b, touched)
            if isinstance(self.scheduler, AbsBatchStepScheduler):
                self.scheduler.step()
        else:
            logging.warning(
                f"The norm of the architecture gradient is {norm}. Skipping this "
                "architecture step."
            )
        self.clear()
        return {
            "arch_grad_norm": float(norm),
            "arch_skipped": 0.0 if finite else 1.0,
            "optim1_lr0": self.optimizer.param_groups[0]["lr"],
            **self.estimator.report(),
        }

    def clear(self) -> None:
        """Forget what has been accumulated."""
        self.optimizer.zero_grad()
        self._touched = [frozenset() for _ in self.supernet.logits]


def average_over_ranks(
    tensors: Sequence[torch.Tensor], share: torch.Tensor
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Average over processes, weighted, in one reduction of a vector.

    Args:
        tensors: What to average, the same shapes in all processes.
        share: Weight () of this process.

    Returns:
        The averages, and the sum () of the weights.
    """
    flat = torch.cat([t.detach().reshape(-1) for t in tensors])
    flat = torch.cat([flat * share, share.reshape(1).to(flat.dtype)])
    torch.distributed.all_reduce(flat)
    means, total = flat[:-1] / flat[-1], flat[-1]
    parts = means.split([t.numel() for t in tensors])
    return [p.reshape(t.shape) for p, t in zip(parts, tensors, strict=True)], total
