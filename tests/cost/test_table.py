"""Costs of whole spaces against enumeration over all architectures."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from espnet_stnas.cost.counts import (
    count_macs,
    layer_lengths,
    macs_table,
    parameter_table,
)
from espnet_stnas.cost.table import CostTable, same_operation, with_unit
from espnet_stnas.errors import ConfigError
from espnet_stnas.network.network import build_network
from espnet_stnas.notation.families import FAMILIES
from espnet_stnas.notation.spec import parse_op
from espnet_stnas.ops import build_operation
from tests.conftest import all_paths, tiny_space

PAIR = ["tdnn-C1D1", "tdnn-C2D1Nbn"]
SPACE = tiny_space(
    "deltas",
    "tdnn-C0D1",
    {"residual": {"body": [PAIR, "tdnn-C1D1"], "shortcut": ["zero", "tdnn-C0D1"]}},
    "tdnn-C1S3D1",
    {"bidirectional": {"forward": [PAIR], "backward": ["tdnn-C2D1"]}},
    {"cell": {"nodes": [["tdnn-C1D1"]], "skips": [["ff"]]}},
    {"choice": "last", "candidates": ["tdnn-C0D1", "identity", "ff"]},
    {"choice": "last", "candidates": ["tdnn-C0D1", "identity", "ff"]},
    width=4,
)
SIZE = 3
FRAMES = 20


def drawn(table: CostTable, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(len(c), generator=generator, dtype=torch.float64).requires_grad_()
        for c in table.choices
    ]


def test_parameters_are_those_of_all_fixed_networks():
    table = parameter_table(SPACE, SIZE)
    assert SPACE.num_architectures == len(all_paths(SPACE)) == 24
    for path in all_paths(SPACE):
        network = build_network(SPACE.resolve(path), SIZE)
        assert table.of(path) == sum(p.numel() for p in network.parameters())


def test_macs_are_those_of_all_fixed_networks():
    table = macs_table(SPACE, SIZE, FRAMES)
    for path in all_paths(SPACE):
        network = build_network(SPACE.resolve(path), SIZE).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.randn(1, FRAMES, SIZE), torch.tensor([FRAMES]))
        assert 2 * table.of(path) == counter.get_total_flops()


@pytest.mark.parametrize("kind", ["params", "macs"])
def test_expected_cost_and_its_gradient_are_those_of_enumeration(kind):
    table = (
        parameter_table(SPACE, SIZE)
        if kind == "params"
        else macs_table(SPACE, SIZE, FRAMES)
    )
    logits = drawn(table)
    pi = [torch.softmax(a, 0) for a in logits]
    enumerated = sum(
        math.prod(p[k] for p, k in zip(pi, path, strict=True)) * table.of(path)
        for path in all_paths(SPACE)
    )
    expected = table.expected_cost(pi)
    torch.testing.assert_close(expected, enumerated, rtol=1e-12, atol=0)
    ours = torch.autograd.grad(expected, logits, retain_graph=True)
    theirs = torch.autograd.grad(enumerated, logits)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-8)


def test_closed_form_of_the_gradient():
    """dE/dalpha_k = pi_k (c_k - sum_j pi_j c_j)."""
    table = CostTable("params", 5.0, ((1.0, 4.0, 10.0),))
    alpha = torch.tensor([0.3, -1.0, 0.2], dtype=torch.float64, requires_grad=True)
    pi = torch.softmax(alpha, 0)
    (gradient,) = torch.autograd.grad(table.expected_cost([pi]), [alpha])
    c = torch.tensor(table.choices[0], dtype=torch.float64)
    torch.testing.assert_close(gradient, (pi * (c - pi @ c)).detach())


def test_bounds_are_those_of_enumeration():
    for table in (parameter_table(SPACE, SIZE), macs_table(SPACE, SIZE, FRAMES)):
        costs = [table.of(path) for path in all_paths(SPACE)]
        assert (table.minimum, table.maximum) == (min(costs), max(costs))
        assert table.of(table.cheapest) == min(costs)


def test_an_architecture_has_a_fixed_cost_only():
    path = (1, 0, 1, 2)
    architecture = SPACE.resolve(path)
    for make in (parameter_table, lambda s, i: macs_table(s, i, FRAMES)):
        table = make(architecture, SIZE)
        assert table.choices == ()
        assert table.fixed == table.minimum == make(SPACE, SIZE).of(path)


def test_lengths_are_those_that_operations_get():
    lengths = layer_lengths(SPACE, FRAMES)
    seen: dict[int, int] = {}
    network = build_network(SPACE.resolve((0, 1, 0, 0)), SIZE)
    for index, layer in enumerate(network.layers):
        layer.register_forward_pre_hook(
            lambda _, inputs, index=index: seen.update({index: inputs[0].size(1)})
        )
    network(torch.randn(1, FRAMES, SIZE), torch.tensor([FRAMES]))
    assert lengths == tuple(seen[i] for i in range(len(lengths)))
    assert set(lengths) == {20, 7}


@pytest.mark.parametrize(
    ("op", "weights"),
    [
        # W (gates x units, input) and U (gates x units, units), then the projection.
        ("lstm-U5", 4 * 5 * (4 + 5) + 5 * 6),
        ("blstm-U5", 2 * 4 * 5 * (4 + 5) + 10 * 6),
        ("gru-U5", 3 * 5 * (4 + 5) + 5 * 6),
        ("bgru-U5", 2 * 3 * 5 * (4 + 5) + 10 * 6),
    ],
)
def test_recurrent_layers_use_each_matrix_once_per_frame(op, weights):
    module = build_operation(parse_op(op, "test"), 4, 6, 0.0).eval()
    assert count_macs(module, 4, 11) == 11 * weights


def test_counting_draws_no_random_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    space = tiny_space(["tdnn-C1D1", "lstm"], width=7)
    macs_table(space, 3, 9)
    parameter_table(space, 3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (0, "frames is 0; accepted is an integer from 1 to 100000"),
        (True, "frames is True; accepted is an integer"),
        (3, "layer 1 leaves nothing of 3 frames"),
    ],
)
def test_lengths_that_cannot_be(frames, message):
    with pytest.raises(ConfigError, match=message):
        macs_table(tiny_space("conv2d-S4", PAIR), 20, frames)


def test_one_operation_everywhere():
    space = tiny_space(PAIR, [*PAIR, "zero"])
    assert same_operation(space, "tdnn-C2D1Nbn") == (1, 1)
    with pytest.raises(ConfigError, match="'zero' is no candidate of layer 1"):
        same_operation(space, "zero")


def test_words():
    assert with_unit("params", 8e6) == "8,000,000 parameters"
    assert with_unit("latency", 12.345) == "12.3 microseconds"


@pytest.mark.parametrize("candidate", [*FAMILIES, "lstm+ff"])
def test_all_kinds_of_operations_add_up(candidate):
    shape = parse_op(candidate, "here")
    if shape.stride > 1 or shape.output_width(4, 4) != 4:
        space = tiny_space(candidate, "norm", width=4)
    else:
        other = "tdnn-C2" if candidate == "identity" else "identity"
        space = tiny_space("conv2d-S2", [candidate, other], width=4)
    counts, parameters = macs_table(space, 20, 30), parameter_table(space, 20)
    for path in all_paths(space):
        network = build_network(space.resolve(path), 20).eval()
        assert parameters.of(path) == sum(p.numel() for p in network.parameters())
        assert counts.of(path) == count_macs(network, 20, 30)
        assert counts.of(path) > 0 or candidate == "deltas"
