"""Second-order DARTS against exact second derivatives."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import build_estimator
from espnet_stnas.estimators.darts import unrolled_gradients
from tests.conftest import batch, double_network, tiny_space
from tests.estimators.toys import cpu_generator, loss_of

SPACE = tiny_space(
    "tdnn-C1", ["tdnn-C1", "identity", "zero"], ["tdnn-C1D2", "tdnn"], residual=True
)
XI = 0.05


class ToyLosses:
    """Losses of a supernet on two batches."""

    def __init__(self, supernet, *, dropout: float = 0.0) -> None:
        self.supernet = supernet
        self.logits = supernet.logits
        named = dict(supernet.named_parameters())
        self.weights = [p for n, p in named.items() if "logits" not in n]
        self.names = [n for n in named if "logits" not in n]
        self.learning_rate = XI
        self.batches = {"architecture": batch((5, 3)), "weights": batch((6, 6))}
        self.estimator = build_estimator("darts", {"order": 2})
        self.dropout = dropout
        self.masks: list[torch.Tensor] = []

    def loss(self, role, logits=None, weights=None):
        gates = self.supernet.architecture_gates(
            self.estimator, cpu_generator(), logits
        )
        xs, ilens = self.batches[role]
        if role == "weights" and self.dropout:
            self.masks.append(torch.rand_like(xs) > self.dropout)
            xs = xs * self.masks[-1]
        with self.supernet.routed(gates):
            replaced = dict(zip(self.names, weights or (), strict=bool(weights)))
            return loss_of(functional_call(self.supernet, replaced, (xs, ilens))[0])

    def architecture_gradients(self, wrt):
        return list(torch.autograd.grad(self.loss("architecture"), wrt))

    def weight_gradients(self, wrt):
        return list(torch.autograd.grad(self.loss("weights"), wrt))


def exact_unrolled(losses, xi):
    """dL_val(w - xi dL_train/dw, alpha)/dalpha by differentiating twice."""
    logits = [p.detach().clone().requires_grad_() for p in losses.logits]
    step = torch.autograd.grad(
        losses.loss("weights", logits), losses.weights, create_graph=True
    )
    ahead = [w - xi * g for w, g in zip(losses.weights, step, strict=True)]
    return torch.autograd.grad(losses.loss("architecture", logits, ahead), logits)


def test_unrolled_gradient_is_the_second_order_one():
    """Finite differences agree with double backward, the more so the smaller."""
    losses = ToyLosses(double_network(SPACE).train())
    exact = exact_unrolled(losses, XI)
    first = losses.architecture_gradients(losses.logits)
    close = unrolled_gradients(losses, XI, radius=1e-6)
    for e, c, f in zip(exact, close, first, strict=True):
        assert (e - f).abs().max() > 0.05 * e.abs().max()
        torch.testing.assert_close(c, e, rtol=1e-5, atol=1e-6 * float(e.abs().max()))


def test_weights_are_what_they_were_even_after_an_error():
    losses = ToyLosses(double_network(SPACE).train())
    before = [w.detach().clone() for w in losses.weights]
    unrolled_gradients(losses, XI)
    assert all(torch.equal(w, b) for w, b in zip(losses.weights, before, strict=True))

    def fail(wrt):
        assert not torch.equal(losses.weights[0], before[0])
        raise KeyboardInterrupt

    losses.architecture_gradients = fail
    with pytest.raises(KeyboardInterrupt):
        unrolled_gradients(losses, XI)
    assert all(torch.equal(w, b) for w, b in zip(losses.weights, before, strict=True))


def test_training_loss_has_the_same_dropout_each_time():
    losses = ToyLosses(double_network(SPACE).train(), dropout=0.5)
    unrolled_gradients(losses, XI)
    assert len(losses.masks) == 3
    assert all(torch.equal(m, losses.masks[0]) for m in losses.masks)
    # And the next step another.
    unrolled_gradients(losses, XI)
    assert not torch.equal(losses.masks[3], losses.masks[0])


def test_a_flat_loss_has_no_second_order_term():
    losses = ToyLosses(double_network(SPACE).train())
    zeros = [torch.zeros_like(p) for p in [*losses.logits, *losses.weights]]
    losses.architecture_gradients = lambda wrt: zeros
    assert all((g == 0).all() for g in unrolled_gradients(losses, XI))


def test_order_decides():
    losses = ToyLosses(double_network(SPACE).train())
    first = build_estimator("darts").gradients(losses)
    expected = losses.architecture_gradients(losses.logits)
    assert all(torch.equal(a, b) for a, b in zip(first, expected, strict=True))
    assert not build_estimator("darts").needs_weight_batch
    for conf, xi in (({}, XI), ({"unrolled_lr": 3 * XI}, 3 * XI)):
        estimator = build_estimator("darts", {"order": 2, **conf})
        assert estimator.needs_weight_batch
        torch.manual_seed(5)
        found = estimator.gradients(losses)
        torch.manual_seed(5)
        expected = unrolled_gradients(losses, xi)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert not torch.equal(found[0], first[0])


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"order": 3}, "order is 3; accepted are: 1, 2"),
        ({"order": True}, "order is True; accepted are: 1, 2"),
        ({"unrolled_lr": 0.1}, "unrolled_lr is 0.1, but only order 2 uses it"),
        ({"order": 2, "unrolled_lr": 0}, "unrolled_lr is 0; accepted is a number"),
        ({"order": 2, "unrolled_lr": "x"}, "unrolled_lr is 'x'; accepted is a num"),
    ],
)
def test_bad_options(conf, message):
    with pytest.raises(ConfigError, match=message):
        build_estimator("darts", conf)
