"""The reported view of an output frame, against what its gradients reach."""

from __future__ import annotations

import math

import pytest
import torch

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.network.network import build_network
from espnet_stnas.notation.reach import View, describe_view, narrowest_view, view_of
from espnet_stnas.results.architecture import Architecture
from tests.conftest import tiny_space

SPACES = {
    "tdnn": ["tdnn-C2D3", "tdnn-C1S3D1", "tdnn-C1D2"],
    "strides": ["tdnn-C1S2D1", "tdnn-C2S3D2"],
    "conv2d": ["conv2d-S4", "tdnn-C1D1"],
    "deltas": ["deltas-O2", "tdnn-C1S2"],
    "chain": ["tdnn-C1S2D1+tdnn-C1D2", "tdnn"],
    "sepconv": ["sepconv-C2S2D2", "identity"],
    "residual": ["tdnn-C1", {"residual": {"body": ["tdnn-C3", "tdnn-C1"]}}],
    "causal": ["tdnn-C2R0D2", "sepconv-C1R0S2D1", "tdnnf-C1R3D1"],
    "chunks": ["tdnn-C1R0S2D1", *["conformer-H2K3R0C4L4"] * 2, "tdnn-C1R2S2"],
    "chunk_after_look_ahead": ["transformer-H2C6", "tdnn-C1S2", "transformer-H2C3L3"],
    "nested_chunks": ["transformer-H2C8L8", "tdnn-C0R0S2", "transformer-H2C2L2"],
    "skips_beside_chunks": [
        {"residual": {"body": ["transformer-H2C4L0"], "shortcut": "identity"}},
        "transformer-H2C4L0",
    ],
    "cell": [
        "tdnn-C1S3",
        {
            "cell": {
                "nodes": [["tdnn-C1D1"], ["tdnn-C0"], ["tdnn-C1S2D2"]],
                "skips": [
                    ["zero"],
                    ["tdnn-C4D1", "zero"],
                    ["tdnn-C1S2D1", "tdnn-C0S2", "tdnn-C3S2"],
                ],
            }
        },
        "tdnn-C1D1",
    ],
    "bidirectional": ["tdnn-C1S3", {"bidirectional": {"forward": ["tdnn-C3D2"]}}],
    "bidirectional_stride": [
        {"bidirectional": {"forward": ["tdnn-C1S3D1"], "backward": ["tdnn-C2S3D2"]}}
    ],
    "bidirectional_conv2d": [{"bidirectional": {"forward": ["conv2d-S6"]}}],
}


def seen(space, frames: int) -> list[tuple[int, int]]:
    """First and last input frame that the gradient of each output frame reaches."""
    network = build_network(space, 20).double().eval()
    xs = torch.randn(1, frames, 20, dtype=torch.double, requires_grad=True)
    ys, _ = network(xs, torch.tensor([frames]))
    found = []
    for y in ys[0]:
        mixed = (y * torch.randn_like(y)).sum()
        (gradient,) = torch.autograd.grad(mixed, xs, retain_graph=True)
        reached = gradient[0].abs().sum(dim=1).nonzero().flatten().tolist()
        found.append((reached[0], reached[-1]))
    return found


@pytest.mark.parametrize("name", SPACES)
def test_view_is_what_gradients_reach(name):
    """Over several lengths, some output frame sees just as far as reported."""
    space = tiny_space(*SPACES[name], width=16)
    view = view_of(space)
    lefts, rights = [], []
    for frames in range(60, 66):
        for number, (first, last) in enumerate(seen(space, frames)):
            centre = number * view.stride
            lefts.append(centre - first)
            rights.append(last - centre)
    assert max(lefts) == view.left
    assert max(rights) == view.right


def test_equal_chunks_look_ahead_once():
    layers = ["conv2d-S4", *["conformer-H2K3R0C8L8"] * 6, "norm"]
    view = view_of(tiny_space(*layers, width=8))
    # Seven frames to the end of the chunk, and the subsampling after that.
    assert view.right == 7 * 4 + 6


@pytest.mark.parametrize(("one", "other"), [(4, 6), (3, 2)])
def test_chunks_of_two_sizes_have_a_bound(one, other):
    layers = [f"transformer-H2C{one}L{one}", f"transformer-H2C{other}L{other}"]
    view = view_of(tiny_space(*layers, width=8))
    ends = [-(-(-(-(n + 1) // other) * other) // one) * one - 1 - n for n in range(60)]
    assert max(ends) <= view.right <= one + other - 2
    assert view.left <= 2 * (one + other)


def test_a_choice_of_chunks_is_bounded_to_both_sides():
    space = tiny_space(
        ["transformer-H2C4", "transformer-H2C6", "tdnn-C9"], "transformer-H2C4",
        ["identity", "transformer-H2C4"], width=8,
    )  # fmt: skip
    widest, narrowest = view_of(space), narrowest_view(space)
    for first in range(3):
        for second in range(2):
            view = view_of(space.resolve([first, second]))
            assert narrowest.left <= view.left <= widest.left
            assert narrowest.right <= view.right <= widest.right


def test_skips_change_nothing():
    layers = ["tdnn-C1D2", "identity"]
    assert view_of(tiny_space(*layers, residual=True)) == view_of(tiny_space(*layers))


def test_a_space_counts_with_its_widest_candidates():
    space = tiny_space(["tdnn-C1D1", "tdnn-C2D2"], ["tdnn-C1D1", "identity"])
    assert view_of(space) == View.of(5, 5, 1)


@pytest.mark.parametrize(
    ("layers", "left", "right"),
    [
        (["tdnn-C1S2", "lstm"], math.inf, 1),
        (["blstm", "tdnn"], math.inf, math.inf),
        (["conv2d-S4", "transformer-H2"], math.inf, math.inf),
        (["tdnn-C1+transformer-H2"], math.inf, math.inf),
        ([{"bidirectional": {"forward": ["lstm"], "backward": ["tdnn"]}}], math.inf, 1),
        ([{"bidirectional": {"forward": ["lstm"]}}], math.inf, math.inf),
    ],
)
def test_unlimited_views(layers, left, right):
    view = view_of(tiny_space(*layers, width=8))
    assert (view.left, view.right) == (left, right)


def test_words():
    assert describe_view(View.of(12, 9, 3)).splitlines() == [
        "  receptive field: 22 frames, 220 ms (12 before, 9 after)",
        "  look-ahead: 90 ms",
        "  frame rate: 33.33 Hz (one frame out for 3 in, which are 10 ms apart)",
    ]
    past = describe_view(View.of(math.inf, 2, 4), frame_shift=12.5)
    assert "the whole utterance to one side (all before, 2 after)" in past
    assert "look-ahead: 25 ms" in past and "20 Hz" in past
    whole = describe_view(View.of(math.inf, math.inf, 4))
    assert "receptive field: the whole utterance (all before, all after)" in whole
    assert "look-ahead: the whole utterance" in whole


@pytest.mark.parametrize("shift", [0.0, -1.0, math.nan, math.inf])
def test_wrong_frame_shift_is_one_sentence(shift):
    with pytest.raises(ConfigError, match="frame_shift is .*; accepted are milliseco"):
        describe_view(View(), shift)


def test_command(tmp_path, capsys):
    space = tiny_space("tdnn-C1S3D1", "tdnn-C1D2")
    Architecture(space).write(tmp_path / "a.yaml")
    stnas(["show", str(tmp_path / "a.yaml"), "--frame_shift", "20"])
    out = capsys.readouterr().out
    assert "1  tdnn-C1S3D1" in out
    assert "give --input_size" in out
    assert "receptive field: 15 frames, 300 ms (7 before, 7 after)" in out
    assert "look-ahead: 140 ms" in out
    with pytest.raises(SystemExit, match="^error: architecture or .*no.yaml"):
        stnas(["show", str(tmp_path / "no.yaml")])
