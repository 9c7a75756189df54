"""Whole networks chunk by chunk, against the whole utterance."""

from __future__ import annotations

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.network.network import build_network
from espnet_stnas.network.stream import Stream
from tests.conftest import tiny_space

WIDTH, FRAMES = 24, 151
CONFORMER = "conformer-H2K7R0F8C4L6"
NETWORKS = {
    "subsampling": ["deltas-O1", "tdnn-C1R0S3D1Nbn", "sepconv-C2S2D1", "tdnnf-C3R1D2"],
    "conformers": ["conv2d-S4", "positions-Prel", CONFORMER, CONFORMER, "norm"],
    "look_ahead": ["conv2d-S2", "conformer-H2K5R2F8C3", "ebranchformer-H2K5F8G8C5"],
    "branches": ["tdnn-C1R0S2", *["ebranchformer-H2K5R0F8G8J5C5"] * 2],
    "transformers": ["conv2d-S6", "positions-Pabs", "transformer-H2F8C4", "norm"],
    "recurrent": ["tdnn-C2R1S2", "lstm", "gru-U4", "ff-F8"],
    "chain": ["tdnn-C1S3D1+lstm+tdnn-C1R0D2", "identity"],
    "blocks": [
        {"residual": {"body": ["tdnn-C2D2", "tdnn-C1R0D1"], "shortcut": "tdnn-C0"}},
        {"residual": {"body": ["tdnn-C1S2"], "shortcut": "tdnn-C0R3S2"}},
        {"residual": {"body": [{"residual": {"body": [CONFORMER]}}, "tdnn-C1"]}},
    ],
}


def build(layers, residual=False):
    space = tiny_space(*layers, width=WIDTH, residual=residual)
    network = build_network(space, WIDTH).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def stream_all(stream, xs, chunk):
    parts = xs.split(chunk, dim=1)
    state, found = stream.start(xs.size(0)), []
    for number, part in enumerate(parts, start=1):
        ys, state = stream(part, state, final=number == len(parts))
        found.append(ys)
    return found


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_chunks_equal_the_whole(name, residual):
    network = build(NETWORKS[name], residual)
    stream = Stream(network)
    for frames in (FRAMES, 12):
        xs = torch.randn(2, frames, WIDTH)
        whole, olens = network(xs, torch.tensor([frames, frames]))
        for chunk in (1, 16, 40, frames):
            found = torch.cat(stream_all(stream, xs, chunk), dim=1)
            assert found.size(1) == int(olens[0])
            torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_frames_wait_for_the_look_ahead_at_most(name):
    stream = Stream(build(NETWORKS[name]))
    state, count = stream.start(), 0
    for frame in range(FRAMES):
        ys, state = stream(torch.randn(1, 1, WIDTH), state)
        count += ys.size(1)
        assert count >= (frame - stream.look_ahead) // stream.stride + 1


@torch.no_grad()
def test_states_do_not_grow():
    stream = Stream(build(NETWORKS["conformers"]))
    state, sizes = stream.start(), []
    for _ in range(30):
        _, state = stream(torch.randn(1, 16, WIDTH), state)
        sizes.append({name: value.shape for name, value in state.items()})
    assert all(size == sizes[-1] for size in sizes[10:])


def test_what_cannot_stream_is_named():
    blocks = [{"bidirectional": {"forward": ["lstm"]}}]
    for layers, message in (
        (["tdnn", "conformer-H2"], "'conformer-H2K31' cannot run chunk by chunk, sin"),
        (["blstm"], "operation 'blstm' cannot run chunk by chunk, since it sees who"),
        (blocks, "a bidirectional block cannot run chunk by chunk"),
    ):
        with pytest.raises(ConfigError, match=message):
            Stream(build(layers))


def test_a_network_in_training_is_refused():
    stream = Stream(build(["tdnn"]).train())
    with pytest.raises(ValueError, match=r"call its eval\(\) first"):
        stream(torch.zeros(1, 3, WIDTH), stream.start())


def test_wrong_frames_and_states_are_refused():
    """Before anything is computed, and with what is accepted."""
    stream = Stream(build(["tdnn", "lstm"]))
    other = Stream(build(["tdnn", "gru"]))
    frames = torch.zeros(2, 3, WIDTH)
    for xs, state, message in (
        (
            frames[0],
            stream.start(2),
            r"shape \(3, 24\); accepted is \(batch, frames, 24",
        ),
        (frames[:, :, 1:], stream.start(2), r"shape \(2, 3, 23\); accepted is"),
        (frames, stream.start(1), r"4 tensors of batch \[1\]; .* of batch 2 as the fr"),
        (frames, other.start(2), r"the state has 3 tensors .* accepted are the 4"),
        (frames, {}, r"the state has 0 tensors of batch \[\]; accepted are the 4"),
        (frames[:0], stream.start(2), r"batch \[2\]; .* of batch 0"),
    ):
        with pytest.raises(ValueError, match=message):
            stream(xs, state)
