"""Numbers of frames, against trying thousands of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.lengths import Lengths
from tests.conftest import tiny_space

# Convolutions with padding at both sides, and without.
MAPS = st.integers(1, 9).flatmap(
    lambda s: st.builds(
        lambda k, padded: Lengths(s, s - 1 if padded else s - k),
        st.integers(1, 9),
        st.booleans(),
    )
)
CHAINS = st.lists(MAPS, max_size=4)


def joined(maps: list[Lengths]) -> Lengths:
    whole = Lengths()
    for one in maps:
        whole = whole.then(one)
    return whole


@given(CHAINS)
def test_a_chain_is_its_maps_one_after_the_other(maps):
    whole = joined(maps)
    for frames in range(3000):
        expected = frames
        for one in maps:
            expected = one(expected)
        assert whole(frames) == expected


@given(CHAINS, CHAINS)
def test_the_first_difference_is_that_of_trying(ours, theirs):
    one, other = joined(ours), joined(theirs)
    tried = range(1, 20_000)  # 9 ** 4 * 2 + kernels
    first = next((n for n in tried if max(0, one(n)) != max(0, other(n))), None)
    assert one.difference(other) == other.difference(one) == first
    assert (first is None) == (one == other)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            {"residual": {"body": ["tdnn-S200"], "shortcut": "tdnn-S150"}},
            "makes 2 of 151 frames, the body that it is added to 1",
        ),
        (
            {"residual": {"body": ["tdnn-S99999"], "shortcut": "tdnn-S100000"}},
            "makes 1 of 100000 frames, the body that it is added to 2",
        ),
        (
            {"bidirectional": {"forward": ["tdnn-S150"], "backward": ["tdnn-S200"]}},
            "makes 2 of 151 frames, the backward branch 1",
        ),
        (["tdnn-S150", "tdnn-S150+tdnn-S2"], "of 151 frames, .* makes 1 and .* 2"),
        (["conv2d-S4", "tdnn-S4"], "of 1 frames, candidate 'tdnn-C1S4D1' makes 1 and"),
    ],
)
def test_lengths_that_differ_late_are_refused(layers, message):
    with pytest.raises(ConfigError, match=message):
        tiny_space(layers).shapes(24)


def test_other_strides_on_the_way_to_the_same_length():
    space = tiny_space(
        {"residual": {"body": ["tdnn-S10", "tdnn-S15"], "shortcut": "tdnn-S150"}},
        ["tdnn-S2+tdnn-S300", "tdnn-S30+tdnn-S20"],
    )
    assert space.output_width(24) == 4
