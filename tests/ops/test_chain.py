"""Chains: several operations as one candidate."""

from __future__ import annotations

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.network.network import build_network
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.spec import ChainSpec, parse_op
from tests.conftest import batch, double_network, tiny_space

EARLY, LATE = "tdnn-C1S3D1+tdnn-C1D2W5", "tdnn-C2D1W7+tdnn-C1S3D1W5"


def test_notation():
    spec = parse_op(EARLY, "here")
    long = {"chain": [{"op": "tdnn", "stride": 3}, "tdnn-D2W5"]}
    assert spec == parse_op(long, "here") and str(spec) == EARLY
    assert isinstance(spec, ChainSpec)
    assert spec.output_width(3, 4) == 5
    assert spec.stride == 3
    assert spec.reach == (1 + 3 * 2, 1 + 3 * 2)
    assert [spec.output_length(n) for n in (1, 3, 4, 9)] == [1, 1, 2, 3]


def test_round_trip():
    space = tiny_space([EARLY, LATE], "identity")
    assert SearchSpace.from_conf(space.to_conf()) == space
    assert space.shapes(3)[0].output_width == 5


def test_a_chain_is_its_operations_as_layers():
    chain = double_network(tiny_space(LATE))
    layers = build_network(tiny_space(*LATE.split("+")), 3).double()
    operation = chain.layers[0].operations[0]
    for part, layer in zip(operation.parts, layers.layers, strict=True):
        part.load_state_dict(layer.operations[0].state_dict())
    xs, ilens = batch((9, 4, 1))
    ys, olens = chain(xs, ilens)
    expected, lengths = layers(xs, ilens)
    assert torch.equal(ys, expected) and torch.equal(olens, lengths)


def test_search_decides_where_to_subsample():
    """Scores reach both candidates; one path is the fixed network of that path."""
    space = tiny_space([EARLY, LATE])
    network = double_network(space)
    xs, ilens = batch((9, 4))
    for path in (0, 1):
        fixed = build_network(space.resolve((path,)), 3).double()
        state = network.state_dict()
        fixed.load_state_dict({key: state[key] for key in fixed.state_dict()})
        with torch.no_grad():
            network.logits[0].copy_(torch.eye(2)[path])
        network.eval()
        torch.testing.assert_close(network(xs, ilens)[0], fixed(xs, ilens)[0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tdnn-C1+", "operation 2 of the chain: unknown operation ''"),
        ("tdnn+cnn", "operation 2 of the chain: unknown operation 'cnn'"),
        ({"chain": ["tdnn"]}, "accepted are 2 to 10 operations"),
        ("+".join(["tdnn"] * 11), "accepted are 2 to 10 operations"),
        (
            {"chain": ["tdnn", {"chain": ["tdnn", "tdnn"]}]},
            "2 of the chain is the ch",
        ),
        ({"chain": ["tdnn+tdnn", "tdnn"]}, r"1 of the chain is the chain 'tdnn\+tdnn'"),
        ({"chain": ["+".join(["tdnn"] * 10)] * 10}, "accepted is a single operation"),
    ],
)
def test_wrong_chains(value, message):
    with pytest.raises(ConfigError, match=f"^here: .*{message}"):
        parse_op(value, "here")


def test_candidates_that_do_not_fit():
    with pytest.raises(ConfigError, match="must give the same length"):
        tiny_space([EARLY, "tdnn-C1D1W5"]).shapes(3)
