"""DARTS: the expected mixture of all candidates, first and second order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators.base import Estimator, Gate, Losses, probabilities


class DARTS(Estimator):
    """Output sum_k pi_k o_k(x); both weights and logits learn through the mixture.

    Liu et al. 2019 (arXiv:1806.09055), section 2.3. All K candidates run, and all their
    activations stay in memory.

    Args:
        order: 1: the gradient at the present weights. 2: the gradient at the weights
            after one training step, w' = w - xi dL_train/dw, including the dependence
            of w' on the logits (equation 7). Second derivatives are finite differences
            (equation 8), so that a step needs four gradients instead of one.
        unrolled_lr: xi, the learning rate of that step of plain gradient descent. None:
            the present learning rate of the weights' optimizer, as in the paper.

    Raises:
        ConfigError: If an option is out of range or has no effect.
    """

    def __init__(self, order: int = 1, unrolled_lr: Optional[float] = None) -> None:
        if type(order) is not int or order not in (1, 2):
            raise ConfigError(f"estimator_conf: order is {order!r}; accepted are: 1, 2")
        if unrolled_lr is not None:
            if order == 1:
                raise ConfigError(
                    f"estimator_conf: unrolled_lr is {unrolled_lr!r}, but only order 2 "
                    "uses it; give order: 2, too"
                )
            number = isinstance(unrolled_lr, (int, float))
            if not number or type(unrolled_lr) is bool or not 0 < unrolled_lr < 1e6:
                raise ConfigError(
                    f"estimator_conf: unrolled_lr is {unrolled_lr!r}; accepted is a "
                    "number above 0"
                )
        self.needs_weight_batch = order == 2
        self.unrolled_lr = unrolled_lr

    def architecture_gate(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> Gate:
        """Return the mixture of all candidates; see :class:`Estimator`."""
        return Gate(
            active=tuple(range(len(logits))), coefficients=probabilities(logits)
        )

    def weight_gate(self, logits: torch.Tensor, generator: torch.Generator) -> Gate:
        """Return the mixture with constant coefficients (K,), to train weights."""
        return self.architecture_gate(logits.detach(), generator)

    def gradients(self, losses: Losses) -> list[torch.Tensor]:
        """Compute the gradient of the chosen order; see :class:`Estimator`."""
        if not self.needs_weight_batch:
            return losses.architecture_gradients(losses.logits)
        xi = self.unrolled_lr or losses.learning_rate
        return unrolled_gradients(losses, xi)


def unrolled_gradients(
    losses: Losses, xi: float, radius: float = 0.01
) -> list[torch.Tensor]:
    """Compute the second-order gradient of DARTS (equations 7 and 8).

    The gradient is
    dL_val(w', alpha)/dalpha - xi (dL_train(w+)/dalpha - dL_train(w-)/dalpha) / 2 eps,
    with w' = w - xi dL_train/dw, w+- = w +- eps v, v = dL_val(w')/dw' and
    eps = radius / ||v||.

    Args:
        losses: The losses; the training loss L_train is the loss on the weight batch.
        xi: Learning rate of the virtual step.
        radius: Distance by which the weights move to each side for the finite
            difference; the default is the paper's.
    """
    count = len(losses.logits)
    weights = list(losses.weights)
    # Both sides of the finite difference need the same training loss: same dropout.
    seed = int(torch.randint(2**31, ()))
    step = _training_gradients(losses, weights, seed)
    with _displaced(weights, step, -xi):
        gradients = losses.architecture_gradients([*losses.logits, *weights])
    ahead, direction = gradients[:count], gradients[count:]
    norm = torch.stack([v.norm() for v in direction]).norm()
    if not torch.isfinite(norm) or norm == 0:
        return ahead
    epsilon = radius / float(norm)
    with _displaced(weights, direction, epsilon):
        above = _training_gradients(losses, losses.logits, seed)
    with _displaced(weights, direction, -epsilon):
        below = _training_gradients(losses, losses.logits, seed)
    return [
        g - xi * (a - b) / (2 * epsilon)
        for g, a, b in zip(ahead, above, below, strict=True)
    ]


def _training_gradients(
    losses: Losses, wrt: Sequence[torch.nn.Parameter], seed: int
) -> list[torch.Tensor]:
    """Compute gradients of the training loss from a given random state."""
    devices = [p.device for p in wrt if p.device.type == "cuda"][:1]
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        return losses.weight_gradients(wrt)


@contextmanager
def _displaced(
    weights: Sequence[torch.nn.Parameter],
    direction: Sequence[torch.Tensor],
    amount: float,
) -> Iterator[None]:
    """Move the weights along a direction; afterwards restore them exactly."""
    before = [w.detach().clone() for w in weights]
    try:
        with torch.no_grad():
            for w, d in zip(weights, direction, strict=True):
                w.add_(d, alpha=amount)
        yield
    finally:
        with torch.no_grad():
            for w, b in zip(weights, before, strict=True):
                w.copy_(b)
