"""Any `encoder_conf` is a space that reads back, or one clear sentence."""

from __future__ import annotations

import math
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from espnet_stnas.errors import ConfigError
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.network.network import MOST_PARAMETERS, check_size
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.spec import parse_op
from tests.fuzz.inputs import VALUES, damaged, fuzz, itself, laughs

CONF = {
    "width": 4,
    "dropout_rate": 0.1,
    "residual": True,
    "layers": [
        "deltas-O1",
        [{"op": "tdnn", "context": 2, "norm": "bn"}, "tdnn-C1D2", "tdnn-C0"],
        {"repeat": 2, "layers": [["tdnn", "zero"], "identity"]},
        [{"op": "conformer", "heads": 2, "kernel_size": 3}, "blstm-U3", "ff-F5"],
        "conv2d-S2",
        "tdnn-C1S3D1W5",
        ["tdnn-C2R0D1", "conformer-H1K3R0C4L2"],
    ],
}
# Builds of more than this are left out: they are fine, but take time.
LARGEST_BUILT = 10**6


def sentence(error: ConfigError) -> str:
    """The message, which is one line of bearable length."""
    message = str(error)
    assert message.isprintable(), message
    assert 20 < len(message) < 1500, message
    return message


@fuzz(400)
@given(damaged(CONF))
def test_spaces(conf):
    try:
        space = SearchSpace.from_conf(conf)
    except ConfigError as error:
        sentence(error)
        return
    again = SearchSpace.from_conf(space.to_conf())
    assert again == space
    assert again.digest == space.digest


@fuzz(250)
@given(
    st.sampled_from(VALUES)
    | st.text(max_size=12)
    | st.from_regex(
        r"(tdnn|conv2d|deltas|blstm|conformer)-([A-Z][0-9a-z]{1,6}){0,4}",
        fullmatch=True,
    )
    | damaged({"op": "tdnn", "context": 1, "stride": 2, "width": 3})
)
def test_operations(value):
    try:
        op = parse_op(value, "layer 1")
    except ConfigError as error:
        sentence(error)
        return
    assert parse_op(str(op), "layer 1") == op


@fuzz(150)
@given(
    damaged(CONF, most=2),
    st.sampled_from([1, 3, 12, 12, 80, 0, -1, 2.0, None, True, 10**5, 10**9, "12"]),
)
def test_encoders_are_built_whole_or_not_at_all(conf, input_size):
    """From the constructor comes a working encoder, or a ConfigError."""
    if not isinstance(conf, dict) or not all(isinstance(key, str) for key in conf):
        return  # Python calls no constructor with these
    try:
        with torch.device("meta"):  # without memory
            whole = STNASEncoder(input_size, **conf)
    except ConfigError as error:
        sentence(error)
        with pytest.raises(ConfigError):
            STNASEncoder(input_size, **conf)
        return
    size = sum(p.numel() for p in whole.parameters())
    assert size <= MOST_PARAMETERS
    first = [layer.candidates[0] for layer in whole.space.layers]
    reach = sum(max(op.reach) for op in first)
    if size > LARGEST_BUILT or reach > 500 or math.prod(op.stride for op in first) > 50:
        return  # fine, but slow
    encoder = STNASEncoder(input_size, **conf).eval()
    assert sum(p.numel() for p in encoder.parameters()) == size
    ys, olens, _ = encoder(torch.randn(2, 500, input_size), torch.tensor([500, 400]))
    assert ys.shape == (2, int(olens.max()), encoder.output_size())
    assert torch.isfinite(ys).all()


@pytest.mark.parametrize(
    ("conf", "input_size", "message"),
    [
        (
            {"layers": ["tdnn-C100000"], "width": 100_000},
            100_000,
            r"layers 1 to 1 have 2000010000300000 parameters with width 100000 and inp"
            r"ut_size 100000; accepted are at most 1000000000, so make width, context",
        ),
        (
            {"layers": [{"repeat": 999, "layers": ["tdnn"]}]},
            640,
            "layers 1 to 813 have",
        ),
        (
            {"layers": [["tdnn-W20000", "tdnn-C2W20000"]]},
            9000,
            "layers 1 to 1 have 1440",
        ),
        ({"layers": ["conv2d-S2"], "width": 20_000}, 80, "layers 1 to 1 have"),
        (
            {"layers": [{"repeat": 9, "layers": ["deltas"]}]},
            80,
            r"layer 7 \(layers\[1\]: repetition 7: layers\[1\]\): 'deltas-O2' turns "
            "width 58320 into 174960; accepted are at most 100000",
        ),
        (
            {"layers": ["tdnn-C100000D2W1"]},
            1,
            "sees 200000 frames to a side; accepted are at",
        ),
        (
            {"layers": ["tdnn"]},
            10**9,
            "input_size is 1000000000; accepted is an integer fr",
        ),
        (
            {"layers": ["conv2d-S4", "conv2d-S4"], "width": 6},
            80,
            "'conv2d-S4' needs more t",
        ),
    ],
)
def test_sizes_beyond_memory(conf, input_size, message):
    """Refused at once, before anything is allocated; none of these would fit."""
    start = time.perf_counter()
    with pytest.raises(ConfigError, match=message) as refused:
        STNASEncoder(input_size, **conf)
    sentence(refused.value)
    assert time.perf_counter() - start < 10


def test_looking_at_sizes_draws_no_random_numbers():
    conf = {"layers": ["tdnn-S3", ["tdnn", "tdnn-C2"]], "width": 4}
    state = torch.get_rng_state()
    check_size(SearchSpace.from_conf(conf), 6)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("key", ["layers", "width", "dropout_rate", "residual", "x"])
@pytest.mark.parametrize(
    "bomb", [laughs(), itself(), 16**6000], ids=["laughs", "self", "n"]
)
def test_bombs_go_off_nowhere(key, bomb):
    """Values that would take for ever to print, or that Python refuses to print."""
    with pytest.raises(ConfigError) as refused:
        SearchSpace.from_conf({**CONF, key: bomb})
    sentence(refused.value)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [["tdnn-S100", "tdnn-S150"]],
            "of 101 frames, candidate 'tdnn-C1S150D1' makes 1",
        ),
        ([["tdnn-S150", "tdnn-S100"]], "of 101 frames"),
        (
            [[f"tdnn-W{n}" for n in range(1, 6000)]],
            "accepted are at most 5000 operations",
        ),
    ],
)
def test_choices_that_only_look_alike(layers, message):
    """Strides beyond the lengths that are tried, and far too many candidates."""
    with pytest.raises(ConfigError, match=message):
        SearchSpace.from_conf({"layers": layers, "width": 4}).shapes(4)


def test_a_conf_that_is_no_mapping():
    with pytest.raises(
        ConfigError, match="encoder_conf is 'tdnn'; accepted is a mapping"
    ):
        SearchSpace.from_conf("tdnn")
