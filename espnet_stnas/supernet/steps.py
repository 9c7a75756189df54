"""Architecture steps and weight steps in plain PyTorch.

A search alternates them. ESPnet's search and a loop of your own (docs/python.md) both
use what is here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Optional

import torch

from espnet_stnas.estimators.base import Estimator, Gate
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.supernet.supernet import Gates, find_supernet, frozen_weights

# Runs the model on a batch and returns the loss (). Every call runs it anew.
Loss = Callable[[], torch.Tensor]
# Makes the source of the draws of a step. Every call makes the same one.
Source = Callable[[], torch.Generator]


class LogitLearner:
    """Lets the architecture logits of a model learn.

    Gradients of one or several batches accumulate. An update clips their sum, steps
    the optimizer and lets the estimator correct the result.

    Gradients come from ``torch.autograd.grad`` with respect to the logits alone: no
    weight gets a gradient, so nothing of an architecture step leaks into weight steps.

    Args:
        model: A supernet, or a module that holds one.
        estimator: Draws the gates and says what the gradient is.
        optimizer: Optimizer of the logits, and of nothing else.
        max_norm: Gradients whose norm exceeds this are scaled down to it.
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
        self.forget()

    def gradients(
        self, loss: Loss, gates: Gates, wrt: Sequence[torch.nn.Parameter]
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Gradients of a loss with the gates of an architecture step.

        Args:
            loss: Runs the model and returns the loss ().
            gates: One for each choice, with coefficients.
            wrt: With respect to which parameters (any shape).

        Returns:
            The gradients, and the loss () without a graph.
        """
        with frozen_statistics(self.model), self.supernet.routed(gates):
            with frozen_weights(self.model, wrt):
                value = loss()
            found = torch.autograd.grad(
                # Not every loss reaches all parameters.
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
        """Average gradients (any shape) over processes; here there is one."""
        return tensors

    def learn(self, losses: StepLosses, share: float = 1.0) -> None:
        """Add the architecture gradient of a step to what has accumulated.

        Args:
            losses: The losses of the step.
            share: Share of its batch in the update: 1 / number of batches.
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
        """Add gradients to what has accumulated.

        Args:
            gradients: Of the logits, (K_1,), (K_2,), ...
            touched: For each choice, the candidates that the gradient tells about.
        """
        for logits, gradient in zip(self.logits, gradients, strict=True):
            logits.grad = gradient if logits.grad is None else logits.grad + gradient
        self.touched = [a | b for a, b in zip(self.touched, touched, strict=True)]

    def update(self) -> dict[str, float]:
        """Update the logits and forget the gradients; skip if they are not finite.

        Returns:
            ``arch_grad_norm`` before clipping, ``arch_skipped`` (1 or 0), and what the
            estimator reports.
        """
        report = self.estimator.report()
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
        self.forget()
        return {
            "arch_grad_norm": float(norm),
            "arch_skipped": 0.0 if finite else 1.0,
            **report,
        }

    def forget(self) -> None:
        """Forget the gradients that have accumulated."""
        self.optimizer.zero_grad()
        self.touched = [frozenset() for _ in self.logits]


class StepLosses:
    """What an estimator sees of one architecture step; see ``estimators.base.Losses``.

    Args:
        learner: Computes the gradients.
        source: Makes the source of the draws of this step.
        loss: Runs the model on the batch of the architecture step.
        weight_loss: Runs it on the batch of the next weight step. Only estimators that
            need a weight batch ask for it.
        learning_rate: Learning rate of the weights' optimizer, now; for the same
            estimators.

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
        # A graph can be used once: every gradient gets gates of its own, drawn alike.
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
    """Let the architecture logits learn from one batch; no weight changes.

    Args:
        model: A supernet, or a module that holds one; in training mode.
        loss: Runs the model on the batch and returns the loss ().
        estimator: What :func:`build_estimator` returned.
        optimizer: Optimizer of the supernet's logits, and of nothing else.
        generator: CPU generator; source of the draws.
        max_norm: Gradients whose norm exceeds this are scaled down to it.
        weight_loss: Runs the model on the batch of the next weight step; for second
            order DARTS.
        learning_rate: Learning rate of the weights' optimizer; for the same.

    Returns:
        ``arch_loss``, ``arch_grad_norm`` before clipping, ``arch_skipped`` (1: the
        gradient was not finite, and nothing changed) and what the estimator reports.

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
    """Let the weights on one drawn path learn from one batch; no logit changes.

    Args:
        model: A supernet, or a module that holds one; in training mode.
        loss: Runs the model on the batch and returns the loss ().
        estimator: What :func:`build_estimator` returned. In a warm-up, ``uniform``
            trains all candidates alike.
        optimizer: Optimizer of the weights.
        generator: CPU generator; source of the draws.

    Returns:
        The loss.
    """
    supernet = find_supernet(model)
    optimizer.zero_grad()
    with supernet.routed(supernet.weight_gates(estimator, generator)):
        value = loss()
        value.backward()
    optimizer.step()
    return float(value.detach())


def path_generator(
    seed: int, epoch: int, step: int, role: str, rank: int = 0
) -> torch.Generator:
    """A CPU generator that depends on its arguments only.

    Paths drawn from it are the same after a resume, and on every rank of a distributed
    search if all ask for rank 0, whatever else draws random numbers.

    Args:
        seed: Seed of the search.
        epoch: Epoch, from 1.
        step: Step of the epoch, from 1.
        role: What the draws are for, e.g. ``weights`` or ``architecture``.
        rank: The rank, if each draws its own.
    """
    text = "/".join(str(x) for x in (seed, epoch, step, role, *([rank] * (rank > 0))))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)
