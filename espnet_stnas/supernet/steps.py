"""Architecture steps and weight steps in plain PyTorch.

A search alternates the two. Both the ESPnet search and your own training loop
(docs/python.md) use the functions of this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Optional

import torch

from espnet_stnas.estimators.base import Estimator, Gate
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.supernet.supernet import Gates, find_supernet, frozen_weights
from espnet_stnas.supernet.undo import Kept

# Runs the model on a batch and returns the loss (). Every call runs the model again.
Loss = Callable[[], torch.Tensor]
# Makes the random generator of a step. Every call returns one in the same state.
Source = Callable[[], torch.Generator]


class LogitLearner:
    """Updates the architecture logits of a model.

    Gradients of one or several batches accumulate. An update clips their sum, makes a
    step of the optimizer and lets the estimator correct the result.

    Gradients come from ``torch.autograd.grad`` with respect to the logits alone. No
    weight gets a gradient, so an architecture step does not affect weight steps.

    Args:
        model: A supernet, or a module that contains one.
        estimator: Draws the gates and computes the gradient of the logits.
        optimizer: Optimizer of the logits only.
        max_norm: Maximum norm of the gradient; larger gradients are scaled down.
        norm_type: Order of that norm.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        estimator: Estimator,
        optimizer: torch.optim.Optimizer,
        max_norm: float = math.inf,
        norm_type: float = 2.0,
    ) -> None:
        self.model = model
        self.supernet = find_supernet(model)
        self.logits = self.supernet.logits
        known = {id(p) for p in self.logits}
        self.weights = [
            p for p in model.parameters() if p.requires_grad and id(p) not in known
        ]
        self.estimator = estimator
        self.optimizer = optimizer
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.loss_scale = 1.0
        """The loss is multiplied by it before, and gradients are divided by it after
        the backward pass: mixed precision keeps small gradients so."""
        self.touched: list[frozenset[int]]
        self._offsets = Kept(self.supernet.score_offsets)
        self.forget()

    def gradients(
        self, loss: Loss, gates: Gates, wrt: Sequence[torch.nn.Parameter]
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Compute the gradients of a loss with the gates of an architecture step.

        Args:
            loss: Runs the model and returns the loss ().
            gates: One gate for each choice, with coefficients.
            wrt: Parameters (any shape) to differentiate by.

        Returns:
            The gradients, and the loss () without a graph.
        """
        with frozen_statistics(self.model), self.supernet.routed(gates):
            with frozen_weights(self.model, wrt):
                value = loss()
            found = torch.autograd.grad(
                # Some losses do not depend on all parameters.
                value * self.loss_scale,
                list(wrt),
                allow_unused=True,
            )
        filled = [
            torch.zeros_like(p) if g is None else g / self.loss_scale
            for p, g in zip(wrt, found, strict=True)
        ]
        *averages, value = self.average([*filled, value.detach()])
        return averages, value

    def average(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        """Average gradients (any shape) over processes; here there is only one."""
        return tensors

    def learn(self, losses: StepLosses, share: float = 1.0) -> None:
        """Add the architecture gradient of one step to the accumulated gradients.

        Args:
            losses: The losses of the step.
            share: Weight of its batch in the update: 1 / number of batches.
        """
        gradients = self.estimator.gradients(losses)
        self.accumulate(
            [g * share for g in gradients], [gate.touched for gate in losses.gates]
        )

    def accumulate(
        self,
        gradients: Sequence[torch.Tensor],
        touched: Sequence[frozenset[int]],
    ) -> None:
        """Add gradients to the accumulated gradients.

        Args:
            gradients: Gradients of the logits, (K_1,), (K_2,), ...
            touched: For each choice, the candidates that the gates gave a gradient.
        """
        for logits, gradient in zip(self.logits, gradients, strict=True):
            logits.grad = gradient if logits.grad is None else logits.grad + gradient
        self.touched = [a | b for a, b in zip(self.touched, touched, strict=True)]

    def update(self) -> dict[str, float]:
        """Update the logits and clear the gradients.

        If the gradients are not finite, nothing changes; see :meth:`undo`.

        Returns:
            ``arch_grad_norm`` before clipping, ``arch_skipped`` (1 or 0), and the
            values that the estimator reports.
        """
        norm = torch.nn.utils.clip_grad_norm_(
            self.logits, max_norm=self.max_norm, norm_type=self.norm_type
        )
        finite = bool(torch.isfinite(norm))
        if finite:
            before = [p.detach().clone() for p in self.logits]
            self.optimizer.step()
            with torch.no_grad():
                for p, b, touched in zip(
                    self.logits, before, self.touched, strict=True
                ):
                    self.estimator.after_update(p, b, touched)
        report = self.estimator.report()
        if finite:
            self.forget()
        else:
            self.undo()
        return {
            "arch_grad_norm": float(norm),
            "arch_skipped": 0.0 if finite else 1.0,
            **report,
        }

    def undo(self) -> None:
        """Drop the accumulated gradients, and what was learnt beside them.

        Offsets of scores become those of the last update. For random state, see
        :class:`~espnet_stnas.supernet.undo.Kept`.
        """
        self._offsets.restore()
        self.forget()

    def forget(self) -> None:
        """Clear the accumulated gradients."""
        self.optimizer.zero_grad()
        self.touched = [frozenset() for _ in self.logits]
        self._offsets.save()


class StepLosses:
    """The losses of one architecture step; implements :class:`Losses`.

    Args:
        learner: Computes the gradients.
        source: Makes the random generator of this step.
        loss: Runs the model on the batch of the architecture step.
        weight_loss: Runs the model on the batch of the next weight step; only for
            estimators that need a weight batch.
        learning_rate: Present learning rate of the weights' optimizer; only for the
            same estimators.

    Raises:
        ValueError: If the estimator needs a weight batch and there is none.
    """

    def __init__(
        self,
        learner: LogitLearner,
        source: Source,
        loss: Loss,
        weight_loss: Optional[Loss] = None,
        learning_rate: float = 0.0,
    ) -> None:
        if learner.estimator.needs_weight_batch and weight_loss is None:
            raise ValueError(
                f"the estimator {type(learner.estimator).__name__} needs weight_loss, "
                "the loss on the batch of the next weight step"
            )
        self.logits = learner.logits
        self.weights = learner.weights
        self.learning_rate = learning_rate
        self.gates: Sequence[Gate] = ()
        self.value: Optional[torch.Tensor] = None
        """The loss () on the batch of the architecture step."""
        self._learner = learner
        self._source = source
        self._loss = loss
        self._weight_loss = weight_loss

    def architecture_gradients(
        self, wrt: Sequence[torch.nn.Parameter]
    ) -> list[torch.Tensor]:
        """Gradients on the batch of the architecture step; see :class:`Losses`."""
        self.gates = gates = self._gates()
        gradients, self.value = self._learner.gradients(self._loss, gates, wrt)
        return gradients

    def weight_gradients(self, wrt: Sequence[torch.nn.Parameter]) -> list[torch.Tensor]:
        """Gradients on the batch of the next weight step; see :class:`Losses`."""
        assert self._weight_loss is not None
        return self._learner.gradients(self._weight_loss, self._gates(), wrt)[0]

    def _gates(self) -> Gates:
        # A graph can be used only once, so every gradient draws the same gates again.
        learner = self._learner
        return learner.supernet.architecture_gates(learner.estimator, self._source())


def architecture_step(
    model: torch.nn.Module,
    loss: Loss,
    estimator: Estimator,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    *,
    max_norm: float = math.inf,
    weight_loss: Optional[Loss] = None,
    learning_rate: float = 0.0,
) -> dict[str, float]:
    """Update the architecture logits from one batch; no weight changes.

    Args:
        model: A supernet, or a module that contains one; in training mode.
        loss: Runs the model on the batch and returns the loss ().
        estimator: An estimator from :func:`build_estimator`.
        optimizer: Optimizer of the supernet's logits only.
        generator: CPU generator for the draws.
        max_norm: Maximum norm of the gradient; larger gradients are scaled down.
        weight_loss: Runs the model on the batch of the next weight step; for second
            order DARTS.
        learning_rate: Learning rate of the weights' optimizer; for second order DARTS.

    Returns:
        ``arch_loss``, ``arch_grad_norm`` before clipping, ``arch_skipped`` (1: the
        gradient was not finite, and nothing changed) and the estimator's own values.

    Raises:
        ValueError: If the estimator needs ``weight_loss`` and there is none.
    """
    state = generator.get_state()

    def source() -> torch.Generator:
        return generator.set_state(state)

    learner = LogitLearner(model, estimator, optimizer, max_norm)
    losses = StepLosses(learner, source, loss, weight_loss, learning_rate)
    learner.learn(losses)
    assert losses.value is not None
    return {"arch_loss": float(losses.value), **learner.update()}


def weight_step(
    model: torch.nn.Module,
    loss: Loss,
    estimator: Estimator,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> float:
    """Update the weights on one drawn path from one batch; no logit changes.

    If loss or gradient is not finite, weights, optimizer and running statistics stay
    as they were; random state advances (:class:`~espnet_stnas.supernet.undo.Kept`).

    Args:
        model: A supernet, or a module that contains one; in training mode.
        loss: Runs the model on the batch and returns the loss ().
        estimator: An estimator from :func:`build_estimator`. For a warm-up, use
            ``uniform``, which trains all candidates equally.
        optimizer: Optimizer of the weights.
        generator: CPU generator for the draws.

    Returns:
        The loss; NaN if the step was skipped.
    """
    supernet = find_supernet(model)
    statistics = Kept(model.buffers())
    optimizer.zero_grad()
    with supernet.routed(supernet.weight_gates(estimator, generator)):
        value = loss()
        value.backward()
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(weights, math.inf)
    if not torch.isfinite(norm + value.detach()):
        statistics.restore()
        optimizer.zero_grad()
        return math.nan
    optimizer.step()
    return float(value.detach())
