"""DARTS and SNAS: autograd is the judge."""

from __future__ import annotations

import pytest
import torch

from espnet_stnas.estimators import build_estimator
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.norm import frozen_statistics
from tests.conftest import batch, double_network
from tests.estimators.toys import SPACES, cpu_generator, loss_of

MIXTURES = {"darts": {}, "snas": {"temperature": 0.7}}


def coefficients_by_hand(name, logits, generator):
    if name == "darts":
        return torch.softmax(logits, 0)
    noise = torch.empty(len(logits), dtype=torch.double)
    noise = -noise.exponential_(generator=generator).log()
    return torch.softmax((torch.log_softmax(logits, 0) + noise) / 0.7, 0)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", MIXTURES)
def test_gradcheck_with_fixed_noise(name, space):
    supernet = double_network(SPACES[space]).train()
    inputs = batch((5, 3))
    estimator = build_estimator(name, MIXTURES[name])

    def forward(*logits):
        gates = supernet.architecture_gates(estimator, cpu_generator(), logits)
        with supernet.routed(gates), frozen_statistics(supernet):
            return loss_of(supernet(*inputs)[0])

    logits = [p.detach().clone().requires_grad_() for p in supernet.logits]
    assert torch.autograd.gradcheck(forward, logits)


@pytest.mark.parametrize("step", ["architecture", "weight"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", MIXTURES)
def test_output_and_gradients_are_those_of_the_plain_mixture(name, space, step):
    """Of logits (in architecture steps), of the input and of every weight."""
    supernet = double_network(SPACES[space]).train()
    inputs, ilens = batch()
    inputs.requires_grad_()
    estimator = build_estimator(name, MIXTURES[name])
    draw = getattr(supernet, f"{step}_gates")
    with supernet.routed(draw(estimator, cpu_generator())):
        with frozen_statistics(supernet):
            loss = loss_of(supernet(inputs, ilens)[0])
    parameters = dict(supernet.named_parameters())
    wanted = [inputs, *parameters.values()]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True)

    generator = cpu_generator()
    x, lens = zero_padding(inputs, ilens), ilens
    with frozen_statistics(supernet):
        for layer in supernet.layers:
            if not layer.layer.is_choice:
                x, lens = layer(x, lens)
                continue
            logits = layer.logits if step == "architecture" else layer.logits.detach()
            c = coefficients_by_hand(name, logits, generator)
            results = [o(x, lens) for o in layer.operations]
            lens = results[0][1]
            y = zero_padding(sum(c[k] * r[0] for k, r in enumerate(results)), lens)
            x = x + y if layer.skip else y
    by_hand = torch.autograd.grad(loss_of(x), wanted, allow_unused=True)
    torch.testing.assert_close(loss, loss_of(x))
    for key, one, other in zip(["x", *parameters], gradients, by_hand, strict=True):
        if "logits" in key and step == "weight":
            assert one is None
            continue
        # A choice that its own zero cuts off from the loss has no gradient at all.
        assert (one is None) == (other is None), key
        if one is not None:
            torch.testing.assert_close(one, other)


def test_snas_draws_anew_and_follows_its_temperature():
    logits = torch.tensor([0.1, 0.2, -0.3])
    generator = cpu_generator()
    conf = {"temperature": {"start": 1.0, "end": 0.01, "epochs": 3}}
    estimator = build_estimator("snas", conf)
    warm = [estimator.architecture_gate(logits, generator) for _ in range(2)]
    assert not torch.equal(warm[0].coefficients, warm[1].coefficients)
    estimator.start_epoch(3)
    assert estimator.report() == {"temperature": 0.01}
    cold = [estimator.architecture_gate(logits, generator) for _ in range(50)]
    largest = torch.stack([g.coefficients.max() for g in cold])
    assert largest.median() > 0.99
    assert all(len(g.active) == 3 and g.scored == () for g in [*warm, *cold])
