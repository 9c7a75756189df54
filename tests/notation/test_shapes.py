"""Utterances of any length, alone and beside others, in all kinds of steps."""

from __future__ import annotations

import copy

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import ESTIMATORS, build_estimator
from espnet_stnas.ops.espnet import too_short_error
from espnet_stnas.supernet.supernet import Supernet
from tests.conftest import batch, double_network, tiny_space

CHOICE = ["tdnn-C1D1", "tdnn-C2D3", "tdnn-C1Nbn"]
# Receptive fields of 13 frames and more.
SPACES = {
    "fixed": tiny_space("deltas", "tdnn-C2D2", "tdnn-C1S3D1", "tdnn-C2D3Nbn"),
    "supernet": tiny_space("deltas", CHOICE, "tdnn-C1S3D1", CHOICE, "tdnn-C0"),
    "residual": tiny_space(
        "tdnn", [*CHOICE, "zero", "identity"], "tdnn-S2", CHOICE, residual=True
    ),
}
# At 24 dimensions, 7 frames are needed.
CONV2D = tiny_space("conv2d-S4", CHOICE, "deltas", "tdnn-C1S2", CHOICE)
ENOUGH = 7

LENGTHS = {
    "1 frame": (1,),
    "1 frame each": (1, 1, 1),
    "2 frames": (2,),
    "shorter than the receptive field": (5,),
    "batch of one": (40,),
    "10x": (60, 6),
    "1 frame beside 60": (60, 1, 13),
}


def gates(network, name: str = "st"):
    """Gates as in an architecture step, for every network."""
    if not isinstance(network, Supernet):
        return None
    generator = torch.Generator().manual_seed(0)
    return network.architecture_gates(build_estimator(name), generator)


def step(network, xs, lengths, name: str = "st"):
    """Forward and backward of an architecture step, or of a plain one if fixed."""
    drawn = gates(network, name)
    if drawn is None:
        ys, olens = network(xs, lengths)
    else:
        with network.routed(drawn):
            ys, olens = network(xs, lengths)
    weights = torch.linspace(-1, 1, ys.size(-1), dtype=ys.dtype)
    (ys * weights).square().sum().backward()
    return ys, olens


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_an_utterance_does_not_see_its_neighbours(space, lengths):
    network = double_network(space).eval()
    xs, ilens = batch(lengths)
    ys, olens = network(xs, ilens)
    assert ys.size(1) == int(olens.max())
    for number, length in enumerate(lengths):
        alone, olen = network(xs[number : number + 1, :length], ilens[number].view(1))
        assert olen == olens[number]
        torch.testing.assert_close(ys[number : number + 1, : int(olen)], alone)
        assert not ys[number, int(olen) :].any()


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_every_length_trains(space, lengths):
    """With finite gradients for weights and logits, also of batch norms of 1 frame."""
    network = double_network(space).train()
    ys, olens = step(network, *batch(lengths))
    assert (olens > 0).all()
    assert torch.isfinite(ys).all()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)
    assert all(p.grad is not None for p in getattr(network, "logits", ()))


@pytest.mark.parametrize("name", [e for e in ESTIMATORS if e != "uniform"])
@pytest.mark.parametrize("lengths", [(1,), (60, 1, 6)], ids=str)
def test_every_estimator_steps_at_every_length(name, lengths):
    network = double_network(SPACES["supernet"]).train()
    step(network, *batch(lengths), name)
    for logits in network.logits:
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("lengths", [(60, ENOUGH - 1), (ENOUGH, 1, 3)], ids=str)
def test_utterances_that_the_subsampling_leaves_without_frames(lengths):
    """They are of length 0 beside others, and change neither these nor the step."""
    network = double_network(CONV2D, input_size=24)
    xs, ilens = batch(lengths, size=24)
    with torch.no_grad():
        ys, olens = network.eval()(xs, ilens)
        alone, olen = network(xs[:1], ilens[:1])
    assert olens.tolist() == [int(olen)] + [0] * (len(lengths) - 1)
    torch.testing.assert_close(ys[:1], alone)
    assert not ys[1:].any()
    without = copy.deepcopy(network).train()
    step(network.train(), xs, ilens)
    step(without, xs[:1], ilens[:1])
    for one, other in zip(network.logits, without.logits, strict=True):
        assert torch.isfinite(one.grad).all()
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("training", [True, False])
def test_no_utterance_is_long_enough(training):
    """ESPnet's own error, which its decoding understands, and a plain sentence."""
    network = double_network(CONV2D, input_size=24).train(training)
    xs, ilens = batch((ENOUGH - 1, 2), size=24)
    with pytest.raises(ConfigError, match="6 frames are too few for .*'conv2d-S4'"):
        step(network, xs, ilens)
    with pytest.raises(type(too_short_error("", 0))):
        step(network, xs, ilens)
