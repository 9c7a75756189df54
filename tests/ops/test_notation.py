"""Short and long forms of the operations, and what they refuse."""

from __future__ import annotations

import sys

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.notation.spec import parse_op
from espnet_stnas.ops import build_operation
from espnet_stnas.ops import espnet as compat
from tests.ops.examples import SIZE, all_examples


@pytest.mark.parametrize("text", all_examples())
def test_short_and_long_forms_are_one(text):
    op = parse_op(text, "here")
    assert parse_op(str(op), "here") == op
    assert parse_op({"op": op.op, **op.options}, "here") == op
    assert build_operation(op, SIZE, SIZE, 0.1).spec == op


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("tdnnf", "tdnnf-C1D1"),
        ("tdnnf-D3C2B64NbnW9", "tdnnf-C2D3B64NbnW9"),
        ("sepconv-C3S2D1Nln", "sepconv-C3S2D1"),
        ("lstm", "lstm"),
        ("transformer-F64Pabs", "transformer-H4F64"),
        ("conformer-K7M0F9H2", "conformer-H2K7F9M0"),
        ("positions", "positions-Prel"),
    ],
)
def test_canonical_form(text, canonical):
    """Options in order, without defaults but those that are always shown."""
    assert str(parse_op(text, "here")) == canonical


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "conformer-K8",
            "operation 'conformer': option 'kernel_size' is 8; accepted is an odd "
            "integer from 1 to 100000",
        ),
        ("conformer-M2", "option 'macaron' is 2; accepted is one of 0, 1"),
        ({"op": "conformer", "macaron": True}, "option 'macaron' is True; accepted"),
        ("conformer-H0", "option 'heads' is 0; accepted is an integer from 1"),
        ("ebranchformer-G7", "option 'cgmlp' is 7; accepted is an even integer from 2"),
        ("ebranchformer-J4", "option 'merge_kernel' is 4; accepted is an odd integer"),
        ("ff-F0", "option 'feed_forward' is 0; accepted is an integer from 1"),
        ("positions-Psin", "option 'positions' is 'sin'; accepted is one of rel, abs"),
        ("tdnnf-S2", "cannot read 'S2'; operation 'tdnnf' takes each of these"),
        ("blstmp", r"unknown operation 'blstmp' \(did you mean 'blstm'\?\)"),
    ],
)
def test_wrong_options_give_one_clear_sentence(value, message):
    with pytest.raises(ConfigError, match=message):
        parse_op(value, "here")


@pytest.mark.parametrize(
    ("operation", "width", "message"),
    [
        (
            "conformer-H3",
            8,
            "operation 'conformer-H3K31': option 'heads' is 3; accepted are divisors "
            "of its width, which is 8",
        ),
        ("transformer-H16", 8, "option 'heads' is 16; accepted are divisors of its"),
        ("ebranchformer-H5", 8, "option 'heads' is 5; accepted are divisors of its"),
        ("conformer-H1", 7, "'conformer-H1K31' has width 7; accepted are even widths"),
        ("positions-Pabs", 7, "'positions-Pabs' has width 7; accepted are even"),
    ],
)
def test_impossible_sizes_are_refused_before_anything_is_built(
    operation, width, message
):
    layers = [f"tdnn-C0W{width}", [operation, "identity"]]
    with pytest.raises(ConfigError, match=message):
        STNASEncoder(3, layers=layers, width=4)


@pytest.mark.parametrize("operation", ["transformer-H1", "lstm", "blstm-U3", "ff"])
def test_odd_widths(operation):
    encoder = STNASEncoder(3, layers=["tdnn-C0", operation], width=7)
    ys, _, _ = encoder(torch.randn(2, 5, 3), torch.tensor([5, 3]))
    assert ys.shape == (2, 5, 7)


def test_an_operation_that_this_espnet_lacks(monkeypatch):
    """An encoder with it is refused in one sentence; one without it works."""
    place = "espnet2.asr.encoder.e_branchformer_encoder"
    monkeypatch.setitem(sys.modules, place, None)
    message = (
        "operation 'ebranchformer-H4K31' needs EBranchformerEncoderLayer of "
        f"{place}, which the installed ESPnet {compat.espnet_version()} lacks; accepted"
    )
    with pytest.raises(ConfigError, match=message):
        STNASEncoder(8, layers=["tdnn", ["ebranchformer", "identity"]], width=8)
    STNASEncoder(8, layers=["conformer", "lstm"], width=8)


def test_a_class_that_this_espnet_lacks(monkeypatch):
    module = compat._nets_module("pytorch_backend.transformer.attention")
    monkeypatch.delattr(module, "RelPositionMultiHeadedAttention")
    with pytest.raises(ConfigError, match="needs RelPositionMultiHeadedAttention of"):
        STNASEncoder(8, layers=["conformer"], width=8)
    STNASEncoder(8, layers=["transformer"], width=8)


def test_an_espnet_without_the_old_modules(monkeypatch):
    monkeypatch.setattr(compat, "_NETS", ("espnet2.nowhere", "nowhere.nets"))
    with pytest.raises(ConfigError, match="'ff' needs LayerNorm of pytorch_backend"):
        STNASEncoder(8, layers=["ff"], width=8)
    STNASEncoder(8, layers=["lstm", "tdnnf", "sepconv"], width=8)


def test_what_espnet_needs_itself_is_another_error(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'humanfriendly'", name="humanfrien")

    monkeypatch.setattr(compat, "_nets_module", missing)
    with pytest.raises(ModuleNotFoundError, match="humanfriendly"):
        compat.espnet_part("LayerNorm", "norm")


def test_parts_are_imported_on_the_cpu(monkeypatch):
    """Sizes are checked on the meta device; what imports make must be real."""
    devices = []
    nets_module = compat._nets_module
    monkeypatch.setattr(
        compat,
        "_nets_module",
        lambda name: devices.append(torch.zeros(1).device.type) or nets_module(name),
    )
    with torch.device("meta"):
        compat.espnet_part("LayerNorm", "norm")
    assert devices == ["cpu"]
