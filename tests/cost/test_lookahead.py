"""Look-ahead as a cost, against the views of all architectures."""

from __future__ import annotations

import itertools

import pytest
import torch

from espnet_stnas.cost.budget import Budget, costs_of, excesses
from espnet_stnas.cost.goal import CostOptions, build_term
from espnet_stnas.cost.lookahead import look_ahead_table
from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.reach import view_of
from espnet_stnas.results.architecture import Architecture
from tests.conftest import tiny_space

KERNELS = ["tdnn-C1D1", "tdnn-C2R0D1", "tdnn-C2R1D3"]
CHUNKS = ["transformer-H2C4L4", "transformer-H2C8", "identity"]
SPACES = {
    "kernels": [KERNELS, "tdnn-C1S3D1", KERNELS, "tdnn-C1S2", KERNELS],
    "chunks": ["conv2d-S4", CHUNKS, CHUNKS, CHUNKS],
    "fixed_chunk": [KERNELS, "tdnn-C1S2", "transformer-H2C4", CHUNKS, CHUNKS],
    "blocks": [
        {"residual": {"body": [KERNELS, "tdnn"]}},
        {"bidirectional": {"forward": ["tdnn-C2R0"], "backward": ["tdnn-C2R0"]}},
    ],
    "shared": [{"choice": "a", "candidates": KERNELS}] * 2,
    "architecture": ["tdnn-C1R2S2", "transformer-H2C4"],
}


@pytest.mark.parametrize("name", SPACES)
def test_expectation_and_bounds_are_those_of_enumeration(name):
    space = tiny_space(*SPACES[name], width=8)
    table = look_ahead_table(space, frame_shift=12.5)
    pi = [torch.randn(len(c.candidates)).double().softmax(0) for c in space.choices]
    paths = list(itertools.product(*(range(len(p)) for p in pi)))
    costs = [12.5 * view_of(space.resolve(path)).right for path in paths]
    assert [table.of(path) for path in paths] == costs
    assert (table.minimum, table.maximum) == (min(costs), max(costs))
    mean = sum(
        cost * torch.stack([p[k] for p, k in zip(pi, path, strict=True)]).prod()
        if path
        else torch.tensor(cost).double()
        for cost, path in zip(costs, paths, strict=True)
    )
    torch.testing.assert_close(table.expected_cost(pi), mean)


def test_a_search_learns_to_look_less_ahead():
    space = tiny_space(CHUNKS, KERNELS, width=8)
    term = build_term(space, 8, CostOptions("lookahead", 1.0, target=10))
    logits = [torch.zeros(3), torch.zeros(3)]
    loss, gradients = term.gradients(logits)
    assert loss > 0
    least = [int(g.argmax()) for g in gradients]
    assert least == [1, 2]  # what looks furthest ahead becomes less probable
    assert gradients[0][2] < gradients[0][0] < gradients[0][1]


@pytest.mark.parametrize("op", ["blstm", "conformer-H2", "identity+transformer-H2"])
def test_whole_utterances_have_no_look_ahead(op):
    space = tiny_space("tdnn", [op, "tdnn"], width=8)
    with pytest.raises(ConfigError, match="cost_conf: '.*' in layer 2 looks ahead"):
        build_term(space, 8, CostOptions("lookahead", 1.0))


def test_a_backward_branch_of_recurrent_layers_has_none_either():
    space = tiny_space({"bidirectional": {"forward": ["lstm"]}}, ["tdnn", "identity"])
    with pytest.raises(ConfigError, match="'lstm' in layer 2.* looks ahead to the end"):
        look_ahead_table(space)


def test_budgets():
    budget = Budget("lookahead", 50.0, "max_cost")
    for op, text in (
        ("tdnn-C2R0", None),
        ("tdnn-C6", "the architecture has 60 ms of look-ahead with frames 10 ms apart; "
         "max_cost is 50 ms of look-ahead"),
        ("blstm", "looks ahead to the end of the utterance; max_cost is 50 ms"),
    ):  # fmt: skip
        found = excesses(costs_of(Architecture(tiny_space(op))), [budget])
        assert (text is None) == (not found)
        assert text is None or text in found[0]
    costs = costs_of(Architecture(tiny_space("tdnn-C6")), frame_shift=8)
    assert [(c.kind, c.value) for c in costs] == [("lookahead", 48)]
