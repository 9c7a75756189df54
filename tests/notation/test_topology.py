"""Residual and bidirectional blocks, cells, and choices that several layers share."""

from __future__ import annotations

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import Gate, build_estimator
from espnet_stnas.network.network import build_network
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.ops.lengths import reversed_frames
from tests.conftest import all_paths, batch, double_network, tiny_space

PAIR = ["tdnn-C1D1", "tdnn-C1D2"]
BLOCKS = [
    "tdnn-C0D1",
    {"residual": {"body": [PAIR, "tdnn-C1D1"], "shortcut": ["zero", "identity"]}},
    {"bidirectional": {"forward": [PAIR], "backward": ["tdnn-C2D1"]}},
    {"choice": "last", "candidates": ["tdnn-C0D1", "identity"]},
    {"choice": "last", "candidates": ["tdnn-C0D1", "identity"]},
]
# Of three nodes; choices, fixed layers and a zero among its skips.
CELL = {
    "cell": {
        "nodes": [["tdnn-C1D1"], [PAIR], ["tdnn-C2D1", "tdnn-C1D1"]],
        "skips": [
            [["tdnn-C0D1", "identity"]],
            ["identity", "ff"],
            ["tdnn-C0D1", ["identity", "zero"], ["zero", "tdnn-C1D1"]],
        ],
    }
}


def test_layers_are_flat_and_nodes_say_how_they_are_wired():
    space = tiny_space(*BLOCKS)
    assert len(space.layers) == 8
    assert space.choice_numbers == (None, 0, None, 1, 2, None, 3, 3)
    assert space.first_layers == (1, 3, 4, 6)
    assert space.num_architectures == 2**4
    assert tiny_space("tdnn-C1D1", PAIR).blocks is None


@pytest.mark.parametrize("path", [(0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 1, 0)])
def test_round_trip_of_spaces_and_architectures(path):
    space = tiny_space(*BLOCKS)
    assert SearchSpace.from_conf(space.to_conf()) == space
    architecture = space.resolve(path)
    again = SearchSpace.from_conf(architecture.to_conf())
    assert again == architecture and again.is_architecture
    assert space.index(again) == path


def test_widths():
    shapes = tiny_space(*BLOCKS, width=4).shapes(3)
    assert [(s.input_width, s.output_width) for s in shapes] == [
        (3, 4),
        (4, 4),
        (4, 4),
        (4, 4),
        (4, 2),
        (4, 2),
        (4, 4),
        (4, 4),
    ]


@pytest.mark.parametrize("last", [BLOCKS[0], BLOCKS[1], BLOCKS[2], CELL])
def test_width_of_what_comes_out(last):
    """A network that ends in two branches puts out what both give."""
    space = tiny_space("tdnn-C0D1", last, width=4)
    xs, ilens = batch()
    ys, _ = double_network(space).eval()(xs, ilens)
    assert space.output_width(3) == ys.size(2) == 4


def test_names_of_layers_lead_to_their_place():
    """A number alone where numbers and items agree."""
    again = {"repeat": 2, "layers": [{"residual": {"body": ["tdnn"]}}]}
    space = tiny_space("tdnn-C0D1", again)
    assert [space.layer_name(index) for index in range(5)] == [
        "layer 1",
        "layer 2 (layers[2]: layers[1]: residual: body[1])",
        "layer 3 (layers[2]: layers[1]: residual: shortcut)",
        "layer 4 (layers[2]: repetition 2: layers[1]: residual: body[1])",
        "layer 5 (layers[2]: repetition 2: layers[1]: residual: shortcut)",
    ]
    assert space == SearchSpace.from_conf(space.to_conf())


def test_cells_add_up_what_they_say():
    """Layers come in the order of the notation: each node, then its skips."""
    space = tiny_space("tdnn-C0D1", CELL)
    assert [str(la.candidates[0]) for la in space.layers[1:]] == [
        *("tdnn-C1D1", "tdnn-C0D1"),
        *("tdnn-C1D1", "identity", "ff"),
        *("tdnn-C2D1", "tdnn-C1D1", "tdnn-C0D1", "identity", "zero"),
    ]
    assert SearchSpace.from_conf(space.to_conf()) == space
    network = double_network(space).eval()
    xs, ilens = batch()
    for path in all_paths(space):
        fixed = space.resolve(path)
        assert SearchSpace.from_conf(fixed.to_conf()) == fixed
        assert space.index(fixed) == path
        with network.routed([Gate((k,)) for k in path]):
            found, olens = network(xs, ilens)
            ends = []

            def layer(index, frames, ends=ends, path=path):
                number = space.choice_numbers[index]
                choice = 0 if number is None else path[number]
                operation = network.layers[index].operations[choice]
                return network.zero_input(*operation(frames, ilens))

            x = layer(0, network.zero_input(xs, ilens))
            one = layer(1, x) + layer(2, x)
            two = layer(3, one) + layer(4, x) + layer(5, one)
            three = layer(7, layer(6, two)) + layer(8, x) + layer(9, one)
            three = three + layer(10, two)
        torch.testing.assert_close(found, three)


def by_hand(network, xs, ilens, gates):
    """What the blocks compute, written out; ``gates`` hold a candidate per choice."""
    numbers = network.space.choice_numbers

    def layer(index, frames):
        number = numbers[index]
        operation = network.layers[index].operations[
            0 if number is None else gates[number]
        ]
        ys, olens = operation(frames, ilens)
        return network.zero_input(ys, olens)

    def mirrored(frames):
        return torch.stack(
            [
                torch.cat([x[:n].flip(0), x[n:]])
                for x, n in zip(frames, ilens.tolist(), strict=True)
            ]
        )

    xs = layer(0, network.zero_input(xs, ilens))
    xs = layer(2, layer(1, xs)) + layer(3, xs)
    xs = torch.cat([layer(4, xs), mirrored(layer(5, mirrored(xs)))], dim=2)
    return layer(7, layer(6, xs))


@pytest.mark.parametrize("path", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 1, 0)])
def test_blocks_compute_what_they_say(path):
    """In the supernet, and in the fixed network with its weights."""
    space = tiny_space(*BLOCKS)
    network = double_network(space)
    xs, ilens = batch((9, 5, 1))
    expected = by_hand(network, xs, ilens, path)
    with network.routed([Gate((k,)) for k in path]):
        ys, olens = network(xs, ilens)
    torch.testing.assert_close(ys, expected)
    assert olens.tolist() == [9, 5, 1]
    fixed = build_network(space.resolve(path), 3).double()
    state = network.state_dict()
    fixed.load_state_dict({key: state[key] for key in fixed.state_dict()})
    torch.testing.assert_close(fixed(xs, ilens)[0], expected)


def test_padding_does_not_reach_valid_frames():
    network = double_network(tiny_space(*BLOCKS)).eval()
    xs, ilens = batch((9, 5))
    together, _ = network(xs, ilens)
    alone, _ = network(xs[1:, :5], ilens[1:])
    torch.testing.assert_close(together[1:, :5], alone)
    assert together[1, 5:].abs().max() == 0


def test_reversed_frames_twice_is_nothing():
    xs, ilens = batch((6, 3, 1))
    mirrored = reversed_frames(xs, ilens)
    assert torch.equal(mirrored[1, :3], xs[1, :3].flip(0))
    assert torch.equal(mirrored[1, 3:], xs[1, 3:])
    assert torch.equal(reversed_frames(mirrored, ilens), xs)


def test_layers_that_share_a_choice_share_its_logits_and_sum_its_gradient():
    """The straight-through gradient, against mixtures written with autograd."""
    shared = {"choice": "c", "candidates": PAIR}
    space = tiny_space(shared, "tdnn-C0D1", shared)
    network = double_network(space)
    (logits,) = network.logits
    assert network.layers[2].logits is network.layers[0].logits
    assert len(list(network.parameters())) == len(set(network.parameters()))
    xs, ilens = batch()
    estimator = build_estimator("st")
    generator = torch.Generator().manual_seed(1)
    gates = network.architecture_gates(estimator, generator)
    with network.routed(gates):
        loss = network(xs, ilens)[0].square().sum()
    (gradient,) = torch.autograd.grad(loss, [logits])

    active = gates[0].active[0]
    pi = torch.softmax(logits, 0)
    scores = torch.zeros(2, dtype=torch.double)
    for index in (0, 2):
        inputs, made = [], []
        layer = network.layers[index]

        def keep(module, args, ys, inputs=inputs, made=made):
            inputs.append(args[0])
            ys[0].retain_grad()
            made.append(ys[0])

        handle = layer.operations[active].register_forward_hook(keep)
        with network.routed([Gate((active,))]):
            network(xs, ilens)[0].square().sum().backward()
        handle.remove()
        for k, operation in enumerate(layer.operations):
            ys = network.zero_input(operation(inputs[0], ilens)[0], ilens)
            scores[k] += (ys * made[0].grad).sum()
    expected = pi * (scores - (pi * scores).sum())
    torch.testing.assert_close(gradient, expected.detach())


def test_every_path_of_a_space_with_blocks_runs():
    space = tiny_space(*BLOCKS)
    network = double_network(space).eval()
    xs, ilens = batch()
    outputs = set()
    for path in all_paths(space):
        with network.routed([Gate((k,)) for k in path]):
            outputs.add(round(float(network(xs, ilens)[0].detach().abs().sum()), 9))
    assert len(outputs) == space.num_architectures


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [{"residual": {"shortcut": "zero"}}],
            r"layers\[1\]: residual is 'shortcut'; accepted is a mapping with the keys "
            "'body', 'shortcut', of which 'shortcut' may be left out",
        ),
        (
            [{"residual": {"body": PAIR}, "more": 1}],
            "found the keys 'residual', 'more'",
        ),
        ([{"residual": {"body": []}}], r"residual: body is \[\]; accepted is a list"),
        ([{"bidirectional": [PAIR]}], "bidirectional is .*; accepted is a mapping"),
        (
            [{"residual": {"body": ["tdnn-C1D1W8"]}}],
            r"layer 2 \(layers\[1\]: residual: shortcut\), a shortcut, turns width 3 "
            "into 3, the body .* into 8",
        ),
        (
            ["tdnn-C0D1", {"residual": {"body": ["tdnn-C1S2D1"]}}],
            r"layer 3 \(layers\[2\]: residual: shortcut\), a shortcut, makes 2 of 2 "
            "frames, the body .* 1;",
        ),
        (
            [
                {
                    "bidirectional": {
                        "forward": ["tdnn-C1D1"],
                        "backward": ["tdnn-C1S2D1"],
                    }
                }
            ],
            r"layer 1 \(layers\[1\]: bidirectional: forward\[1\]\): the forward branch "
            ".* makes 2 of 2 frames, the backward branch 1",
        ),
        (
            [{"choice": "a", "candidates": ["zero"]}],
            "a list of at least two operations",
        ),
        ([{"cell": {"nodes": [PAIR]}}], "mapping with the keys 'nodes', 'skips'$"),
        ([{"cell": {"nodes": [], "skips": []}}], "nodes is .*; accepted is a list"),
        (
            [{"cell": {"nodes": [["ff"], ["ff"]], "skips": [["ff"], ["ff"]]}}],
            "skips is .*; accepted is a list of lists for 2 nodes, with 1, 2 layers",
        ),
        (
            [{"cell": {"nodes": [["ff"]], "skips": ["ff"]}}],
            "skips is .*; accepted is a list of lists for 1 nodes",
        ),
        (
            [{"cell": {"nodes": [["tdnn-W5"]], "skips": [["identity"]]}}],
            r"cell: skips\[1\]\[1\]\), a skip from node 0, has width 3, the node that",
        ),
        (
            [
                "tdnn",
                {
                    "cell": {
                        "nodes": [["tdnn"], ["tdnn-S2"]],
                        "skips": [["zero"], ["tdnn-S2", "identity"]],
                    }
                },
            ],
            "a skip from node 1, makes 2 of 2 frames, the node that it is added to 1",
        ),
        (
            [{"choice": 1, "candidates": PAIR}],
            "and the choice 1; a choice that several",
        ),
        (
            [
                {"choice": "a", "candidates": PAIR},
                {"choice": "a", "candidates": PAIR[::-1]},
            ],
            "choice 'a' has the candidates .* here and .* before",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(layers, message):
    with pytest.raises(ConfigError, match=message):
        SearchSpace.from_conf({"layers": layers, "width": 4}).shapes(3)


def test_odd_width_around_a_bidirectional_block():
    space = tiny_space({"bidirectional": {"forward": ["tdnn-C1D1"]}}, width=5)
    with pytest.raises(ConfigError, match="width is 5 around a bidirectional block"):
        space.shapes(3)


def test_architectures_of_other_blocks_are_refused():
    space = tiny_space(*BLOCKS)
    chain = tiny_space(*(layer.to_conf() for layer in space.layers))
    with pytest.raises(ConfigError, match="has other blocks than the search space"):
        space.index(chain.resolve((0, 0, 0, 0)))
    broken = tiny_space(*BLOCKS[:3], "tdnn-C0D1", "identity")
    with pytest.raises(ConfigError, match="shares the choice 'last' with a layer"):
        space.index(broken.resolve((0, 0, 0)))
