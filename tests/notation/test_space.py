from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.space import SearchSpace

PAPER = ["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1", "tdnn-C2D2"]


# What YAML makes of a file that refers to itself.
SELF: list = []
SELF.append({"repeat": 2, "layers": SELF})


def paper_space(**conf) -> SearchSpace:
    layers = [
        {"repeat": 3, "layers": [PAPER]},
        "tdnn-C1S3D1",
        {"repeat": 3, "layers": [PAPER]},
    ]
    return SearchSpace.from_conf({"layers": layers, **conf})


def test_the_papers_space():
    space = paper_space()
    assert space.num_architectures == 4**6
    assert len(space.choices) == 6
    assert not space.is_architecture
    shapes = space.shapes(120)
    assert [s.input_width for s in shapes] == [120] + [640] * 6
    assert not any(s.skip for s in shapes)


def test_conf_survives_yaml():
    space = paper_space(width=64, dropout_rate=0.1, residual=True)
    again = SearchSpace.from_conf(yaml.safe_load(yaml.safe_dump(space.to_conf())))
    assert again == space
    assert again.digest == space.digest


def test_digest_tells_spaces_apart():
    digests = {
        paper_space().digest,
        paper_space(width=64).digest,
        paper_space(residual=True).digest,
        SearchSpace.from_conf({"layers": [PAPER]}).digest,
    }
    assert len(digests) == 4


def test_resolve_and_index_are_inverse():
    space = paper_space()
    indices = (0, 3, 1, 2, 2, 0)
    architecture = space.resolve(indices)
    assert architecture.is_architecture
    assert architecture.num_architectures == 1
    assert architecture.to_conf()["layers"][3] == "tdnn-C1S3D1"
    assert space.index(architecture) == indices


def test_resolve_needs_an_index_for_each_choice():
    with pytest.raises(ValueError, match="2 indices for 6 choices"):
        paper_space().resolve([0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 32}, "other settings than the search space: width=32"),
        ({"layers": ["tdnn"]}, "the architecture has 1 layers, the search space 7"),
        (
            {"layers": ["tdnn-C3"] + ["tdnn"] * 2 + ["tdnn-S3"] + ["tdnn"] * 3},
            r"layer 1 \(layers\[1\]: layers\[1\]\) of the architecture is tdnn-C3D1; "
            "the search space accepts tdnn-C",
        ),
    ],
)
def test_index_refuses_architectures_of_another_space(change, message):
    conf = {**paper_space().resolve([0] * 6).to_conf(), **change}
    with pytest.raises(ConfigError, match=message):
        paper_space().index(SearchSpace.from_conf(conf))


def test_equal_spaces_have_equal_digests():
    """Whatever the notation leaves out, shortens or writes as another number."""
    space = SearchSpace.from_conf({"layers": ["tdnn-C1D2", PAPER], "dropout_rate": 0})
    for conf in (
        {"layers": ["tdnn-C1D2", PAPER], "dropout_rate": 0.0, "residual": False},
        {"layers": [{"op": "tdnn", "dilation": 2}, PAPER], "dropout_rate": -0.0},
        {"layers": ["tdnn-C1D2Nln", PAPER], "dropout_rate": 0, "width": 640},
    ):
        assert SearchSpace.from_conf(conf).digest == space.digest


def test_a_choice_of_one_is_fixed():
    space = SearchSpace.from_conf({"layers": [["tdnn-C2"], "tdnn-C2"]})
    assert space.is_architecture
    assert space.to_conf()["layers"] == ["tdnn-C2D1", "tdnn-C2D1"]


def test_skips_go_around_layers_that_keep_width_and_length():
    layers = ["tdnn", ["tdnn", "zero"], "tdnn-S3", "tdnn-W8", "tdnn-C1W8"]
    space = SearchSpace.from_conf({"layers": layers, "width": 4, "residual": True})
    assert [s.skip for s in space.shapes(3)] == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({}, "the key 'layers' is missing"),
        ({"layers": None, "width": 3}, "the key 'layers' is missing"),
        ({"layers": []}, r"layers is \[\]; accepted is a list of at least one layer"),
        ({"layers": "tdnn"}, "layers is 'tdnn'; accepted is a list"),
        ({"layers": [[]]}, r"layers\[1\]: a choice needs at least one candidate"),
        (
            {"layers": ["tdnn", ["tdnn-C1", "zero", "tdnn-C1D1Nln"]]},
            r"layers\[2\]: the candidate operation 'tdnn-C1D1' stands 2 times",
        ),
        (
            {"layers": [["tdnn", ["zero"]]]},
            r"layers\[1\]\[2\]: \['zero'\] is not an op",
        ),
        ({"layers": ["tdnn"], "widht": 3}, "unknown key 'widht'; accepted are: layers"),
        ({"layers": ["tdnn"], "width": 0}, "width is 0; accepted is an integer from 1"),
        ({"layers": ["tdnn"], "width": "64"}, "width is '64'"),
        ({"layers": ["tdnn"], "width": True}, "width is True"),
        ({"layers": ["tdnn"], "dropout_rate": 1.0}, "dropout_rate is 1.0; accepted is"),
        ({"layers": ["tdnn"], "dropout_rate": float("nan")}, "dropout_rate is nan"),
        ({"layers": ["tdnn"], "dropout_rate": "0.1"}, "dropout_rate is '0.1'"),
        (
            {"layers": ["tdnn"], "residual": "yes"},
            "residual is 'yes'; accepted is true",
        ),
        ({"layers": [{"repeat": 0, "layers": ["tdnn"]}]}, "repeat is 0; accepted is"),
        ({"layers": [{"repeat": 10**9, "layers": ["zero"]}]}, "repeat is 1000000000;"),
        ({"layers": ["zero"] * 1001}, r"layers\[1001\]: accepted are at most 1000 lay"),
        (
            {"layers": SELF},
            "accepted are at most 10 repetitions and blocks inside each other",
        ),
        ({"layers": [{"repeat": 2}]}, "a repetition has exactly the keys 'repeat' and"),
        ({"layers": [{"repeat": 2, "layers": []}]}, r"layers\[1\]: layers is \[\]"),
    ],
)
def test_wrong_confs_give_one_clear_sentence(conf, message):
    with pytest.raises(ConfigError, match=message):
        SearchSpace.from_conf(conf)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [["tdnn", "identity"]],
            "layer 1: candidate 'identity' turns width 3 into 3, candidate 'tdnn-C1D1' "
            "into 4",
        ),
        ([["zero", "tdnn"]], "candidate 'tdnn-C1D1' turns width 3 into 4, candid"),
        (
            ["tdnn", ["tdnn-C1", "tdnn-C1S2"]],
            "layer 2: of 2 frames, candidate 'tdnn-C1S2D1' makes 1 and candidate "
            "'tdnn-C1D1' 2",
        ),
        ([["tdnn-W8", "tdnn"]], "must give the same width"),
        ([["tdnn-S4", "conv2d-S4"]], "must give the same length"),
    ],
)
def test_candidates_must_fit_together(layers, message):
    space = SearchSpace.from_conf({"layers": layers, "width": 4})
    with pytest.raises(ConfigError, match=message):
        space.shapes(3)


@pytest.mark.parametrize("size", [0, -1, 2.5, None, True])
def test_impossible_input_size(size):
    with pytest.raises(ConfigError, match=f"input_size is {size!r}"):
        paper_space().shapes(size)


WORDS = st.sampled_from(
    ["tdnn", "tdnn-C2D2", "zero", "identity", "deltas", "conv2d-S4", "tdnn-S3", "x-C1"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from(["op", "repeat", "layers", "context", "norm", "order", "width"])
TREES = st.recursive(
    WORDS | SCALARS,
    lambda x: st.lists(x, max_size=4) | st.dictionaries(KEYS, x, max_size=3),
    max_leaves=12,
)


@given(
    st.lists(WORDS | TREES, max_size=4) | TREES,
    st.integers(1, 50) | TREES,
    st.integers(1, 200) | SCALARS,
)
def test_any_yaml_is_read_or_gets_one_clear_sentence(layers, width, input_size):
    """No other error than ours; and what is read survives a round trip."""
    try:
        space = SearchSpace.from_conf({"layers": layers, "width": width})
        shapes = space.shapes(input_size)
    except ConfigError as error:
        assert str(error)
        return
    assert SearchSpace.from_conf(space.to_conf()) == space
    assert len(shapes) == len(space.layers)


def test_spaces_need_no_torch():
    code = (
        "import sys, espnet_stnas.notation.space, espnet_stnas.results.architecture, "
        "espnet_stnas.results.derive, espnet_stnas.results.experiment; "
        "sys.exit('torch' in sys.modules or 'espnet2' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
