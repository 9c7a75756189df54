"""Whatever the notation accepts can be searched, derived, written, read and retrained.

Spaces are drawn from all families, plugins included, in all topologies.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from espnet_stnas.errors import ConfigError
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.network.weights import inherited
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.spec import OpSpec, parse_op
from espnet_stnas.ops.espnet import too_short_error
from espnet_stnas.results.architecture import Architecture
from tests.ops.examples import SIZE, all_examples

WIDTH = 2 * SIZE  # of which a branch has half


def _by_geometry() -> list[list[str]]:
    """Operations and chains of two, in groups that can be candidates of one choice."""
    singles = all_examples()
    pairs = [f"{one}+{other}" for one, other in zip(singles, singles[7:], strict=False)]
    groups = defaultdict(list)
    for text in (*singles, *pairs):
        op: OpSpec = parse_op(text, "here")
        widths = tuple(op.output_width(n, WIDTH) for n in (SIZE, WIDTH))
        groups[widths, op.stride, op.output_length(99)].append(text)
    return sorted(groups.values(), key=len, reverse=True)


GROUPS = _by_geometry()
OPS = st.sampled_from([op for group in GROUPS for op in group])
CHOICES = st.sampled_from(GROUPS[:4]).flatmap(
    lambda group: st.lists(st.sampled_from(group), min_size=2, max_size=4, unique=True)
)
LAYERS = OPS | CHOICES | CHOICES
TIED = CHOICES.map(lambda ops: {"choice": "tied", "candidates": ops})
LONG = OPS.map(lambda text: {"chain": text.split("+")} if "+" in text else text)


def _blocks(inner: st.SearchStrategy) -> st.SearchStrategy:
    body = st.lists(inner, min_size=1, max_size=3)
    return (
        st.builds(lambda n, x: {"repeat": n, "layers": x}, st.integers(1, 3), body)
        | st.builds(lambda x: {"residual": {"body": x}}, body)
        | st.builds(lambda x, y: {"residual": {"body": x, "shortcut": y}}, body, LAYERS)
        | st.builds(lambda x: {"bidirectional": {"forward": x}}, body)
        | st.builds(
            lambda x, y, *s: {"cell": {"nodes": [x, y], "skips": [s[:1], s[1:]]}},
            *(body, body, LAYERS, LAYERS, LAYERS),
        )
        | st.builds(
            lambda x, y: {"bidirectional": {"forward": x, "backward": y}}, body, body
        )
    )


ITEMS = st.recursive(LAYERS | TIED | LONG, _blocks, max_leaves=6)


def fitting(items: list, residual: bool, sharing: str) -> dict[str, Any]:
    """The configuration of a space of those items that fit behind each other."""
    layers: list[Any] = []
    conf = {"width": WIDTH, "dropout_rate": 0.1, "residual": residual}
    for item in items:
        trial = {**conf, "layers": [*layers, item]}
        try:
            STNASEncoder(input_size=SIZE, **trial)
        except ConfigError:
            continue
        layers.append(item)
    conf["layers"] = layers or ["tdnn"]
    choices = not SearchSpace.from_conf(conf).is_architecture
    return {**conf, "sharing": sharing} if choices else conf


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("derived") / "architecture.yaml"


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(
    st.lists(ITEMS, min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["kernel", "none"]),
    st.integers(0, 99),
)
def test_a_derived_encoder_is_the_path_of_the_supernet(
    path, items, residual, sharing, seed
):
    torch.manual_seed(seed)
    encoder = STNASEncoder(input_size=SIZE, **fitting(items, residual, sharing)).eval()
    space = encoder.space
    for logits in getattr(encoder.network, "logits", ()):
        torch.nn.init.normal_(logits)
    chosen = space if space.is_architecture else encoder.network.architecture()
    Architecture(chosen).write(path)
    read = Architecture.read(path).space
    assert read == chosen and read.digest == chosen.digest
    assert space.index(read) == space.index(chosen)
    assert SearchSpace.from_conf(space.to_conf()) == space
    try:
        derived = STNASEncoder(input_size=SIZE, **read.to_conf()).eval()
    except ConfigError as error:  # only a search can be with such a candidate
        assert "zero" in str(error) and "without a skip around it" in str(error)
        return
    weights: Any = encoder.state_dict()
    if not space.is_architecture:
        weights = inherited(weights, space, read, "weights", SIZE)
    derived.load_state_dict(weights)
    frames, lengths = torch.randn(2, 120, SIZE), torch.tensor([120, 41])
    with torch.no_grad():
        try:
            ours = encoder(frames, lengths)
        except type(too_short_error("", 0)):  # many layers that subsample
            assume(False)
        theirs = derived(frames, lengths)
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    assert ours[0].size(2) == derived.output_size() == encoder.output_size()
