"""Deformable and grouped time-delay layers: what they read, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.spec import parse_op
from espnet_stnas.ops import build_operation
from espnet_stnas.ops.deformable import interpolated

SIZE = 3


def build(text: str, width: int = 4):
    return build_operation(parse_op(text, "here"), SIZE, width, 0.0).double()


def moved(text: str):
    """An operation whose offsets depend on the frames."""
    operation = build(text)
    with torch.no_grad():
        for parameter in operation.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
    return operation


def double(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.double)


@pytest.mark.parametrize("options", ["C1D1", "C2S3D2", "C0D1", "C1S2D1Nbn"])
def test_without_offsets_it_is_a_tdnn(options):
    """Which is how it begins."""
    deformable, tdnn = build(f"deformtdnn-{options}"), build(f"tdnn-{options}")
    state = deformable.state_dict()
    tdnn.load_state_dict({k: v for k, v in state.items() if "offsets" not in k})
    xs, ilens = double(2, 11, SIZE), torch.tensor([11, 6])
    xs[1, 6:] = 0.0
    for found, expected in zip(deformable(xs, ilens), tdnn(xs, ilens), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("options", ["C1D1O1", "C1S2D2O3", "C2D1"])
def test_each_tap_reads_between_two_frames(options):
    """Written out, tap by tap."""
    operation = moved(f"deformtdnn-{options}")
    spec = operation.spec.options
    xs = double(1, 12, SIZE)
    ys, olens = operation(xs, torch.tensor([12]))
    offsets = spec["range"] * torch.tanh(operation.offsets(xs))
    assert offsets.abs().max() > 0.5
    weight, bias = operation.conv.weight, operation.conv.bias

    def frame(number: int) -> torch.Tensor:
        return xs[0, number] if 0 <= number < 12 else torch.zeros(SIZE).double()

    for t in range(int(olens)):
        total = bias.clone()
        for tap in range(2 * spec["context"] + 1):
            place = t * spec["stride"] + (tap - spec["context"]) * spec["dilation"]
            place += float(offsets[0, t, tap])
            below, share = math.floor(place), place - math.floor(place)
            read = (1 - share) * frame(below) + share * frame(below + 1)
            total = total + weight[:, :, tap] @ read
        expected = F.layer_norm(
            F.relu(total), (4,), operation.norm.weight, operation.norm.bias
        )
        torch.testing.assert_close(ys[0, t], expected)


def test_gradients_are_those_of_finite_differences():
    """Of frames, kernel and offsets alike."""
    operation = moved("deformtdnn-C1D1O2")
    names = [name for name, _ in operation.named_parameters()]

    def run(xs, *parameters):
        given = dict(zip(names, parameters, strict=True))
        inputs = (xs, torch.tensor([5]))
        return torch.func.functional_call(operation, given, inputs)[0]

    inputs = [double(1, 5, SIZE), *(p.detach() for p in operation.parameters())]
    assert torch.autograd.gradcheck(run, [x.requires_grad_() for x in inputs])


def test_gradients_of_interpolation():
    xs = double(2, 9, SIZE).requires_grad_()
    places = torch.tensor([[3, 4], [4, 5]])
    offsets = (2 * torch.rand(2, 2, 2, dtype=torch.double) - 1).requires_grad_()
    assert torch.autograd.gradcheck(interpolated, (xs, places, offsets))
    whole = interpolated(xs, places, torch.ones_like(offsets))
    assert torch.equal(whole, xs[:, places + 1])


def test_offsets_stay_in_their_range():
    operation = build("deformtdnn-C1D1O2")
    with torch.no_grad():
        operation.offsets.bias.fill_(100.0)  # tanh is 1
    xs = double(1, 9, SIZE).requires_grad_()
    ys, _ = operation(xs, torch.tensor([9]))
    (gradient,) = torch.autograd.grad(ys[0, 3].pow(3).sum(), xs)
    seen = gradient[0].abs().sum(dim=1).nonzero().flatten().tolist()
    assert seen == [4, 5, 6]
    assert operation.reach == (3, 3)


def test_groups_of_dimensions_are_kept_apart():
    operation = build_operation(parse_op("gtdnn-C1D1G2NnoneW6", "here"), 4, 6, 0.0)
    xs = torch.randn(1, 9, 4)
    before, _ = operation(xs, torch.tensor([9]))
    xs[..., 2:] += 1.0
    after, _ = operation(xs, torch.tensor([9]))
    assert torch.equal(before[..., :3], after[..., :3])
    assert not torch.equal(before[..., 3:], after[..., 3:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gtdnn-G3", "option 'groups' is 3; accepted are divisors of its widths"),
        ("multiconvformer-H2Q3G4", "'kernels' is 3; accepted are divisors of half"),
    ],
)
def test_widths_that_cannot_be_divided_are_one_sentence(text, message):
    with pytest.raises(ConfigError, match=message):
        build_operation(parse_op(text, "here"), 8, 8, 0.0)
