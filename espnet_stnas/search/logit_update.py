"""One update of the architecture logits from their accumulated gradients."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Optional

import torch
from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from espnet2.train.trainer import TrainerOptions

from espnet_stnas.cost.goal import CostTerm
from espnet_stnas.estimators import Estimator, Gate
from espnet_stnas.search.ranks import union_over_ranks
from espnet_stnas.search.skips import Skips
from espnet_stnas.supernet.supernet import Supernet


class LogitUpdate:
    """Clips the gradients of the logits and steps their optimizer.

    Args:
        supernet: The supernet.
        estimator: May correct an update.
        optimizer: Optimizer of the logits.
        scheduler: Its scheduler, or None.
        options: Options of the trainer: clipping.
        skips: Counts the updates that are skipped.
        draws_differ_on: Where to ask the other ranks which candidates their gates
            touched, if each rank draws its own; else None.
        cost: What cost adds to the loss, if it does.
    """

    def __init__(
        self,
        supernet: Supernet,
        estimator: Estimator,
        *,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        options: TrainerOptions,
        skips: Optional[Skips] = None,
        draws_differ_on: Optional[str] = None,
        cost: Optional[CostTerm] = None,
    ) -> None:
        self.supernet = supernet
        self.estimator = estimator
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.options = options
        self.skips = skips or Skips("architecture", optimizer)
        self.draws_differ_on = draws_differ_on
        self.cost = cost
        self._touched: list[frozenset[int]] = [frozenset() for _ in supernet.logits]
        self._utterances: Sequence[str] = ()

    def accumulate(
        self,
        gradients: Sequence[torch.Tensor],
        gates: Sequence[Gate],
        utterances: Sequence[str] = (),
    ) -> None:
        """Add gradients that gates and a batch led to.

        Args:
            gradients: Of the logits, (K_1,), (K_2,), ...
            gates: One for each choice.
            utterances: Those of the batch, to be named if the step is skipped.
        """
        self._utterances = utterances
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

        Raises:
            TrainingError: If too many updates have been skipped.
        """
        logits = self.supernet.logits
        if self.draws_differ_on is not None:
            self._touched = list(
                union_over_ranks(
                    self._touched, [len(p) for p in logits], self.draws_differ_on
                )
            )
        statistics = self._add_cost()
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
        self.skips.count(finite, self._utterances)
        return {
            "arch_grad_norm": float(norm),
            "arch_skipped": 0.0 if finite else 1.0,
            "optim1_lr0": self.optimizer.param_groups[0]["lr"],
            **statistics,
            **self.estimator.report(),
        }

    def _add_cost(self) -> dict[str, float]:
        """Add the gradient of the cost, which depends on no batch, once per update.

        Before clipping, which then keeps the direction of the loss as a whole: after
        it, cost would weigh the more, the more of the rest is clipped.
        """
        if self.cost is None:
            return {}
        logits = self.supernet.logits
        loss, gradients = self.cost.gradients(logits)
        for number, (p, gradient) in enumerate(zip(logits, gradients, strict=True)):
            if gradient.any():
                p.grad = gradient if p.grad is None else p.grad + gradient
                # Cost moves all candidates of a choice, also those no gate touched.
                self._touched[number] = frozenset(range(len(p)))
        return {"arch_cost_loss": loss}

    def clear(self) -> None:
        """Forget what has been accumulated."""
        self.optimizer.zero_grad()
        self._touched = [frozenset() for _ in self.supernet.logits]
