from __future__ import annotations

import pytest

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.families import FAMILIES
from espnet_stnas.notation.spec import parse_op


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("tdnn", "tdnn-C1D1"),
        ("tdnn-C2D1Nln", "tdnn-C2D1"),
        ("tdnn-C1S3D1", "tdnn-C1S3D1"),
        ("tdnn-D2C1Nbn", "tdnn-C1D2Nbn"),
        ("tdnn-C0W320", "tdnn-C0D1W320"),
        ("identity", "identity"),
        ("zero", "zero"),
        ("deltas", "deltas-O2"),
        ("conv2d", "conv2d-S4"),
        ("conv2d-S6W80", "conv2d-S6W80"),
    ],
)
def test_short_form_has_a_canonical_form_that_reads_back(text, canonical):
    op = parse_op(text, "here")
    assert str(op) == canonical
    assert parse_op(str(op), "here") == op


def test_long_form_equals_short_form():
    long = {"op": "tdnn", "context": 2, "dilation": 3, "norm": "bn", "width": 80}
    assert parse_op(long, "here") == parse_op("tdnn-C2D3NbnW80", "here")


def test_parsing_does_not_change_the_mapping():
    value = {"op": "tdnn", "context": 2}
    parse_op(value, "here")
    assert value == {"op": "tdnn", "context": 2}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tdn-C1", r"here: unknown operation 'tdn' \(did you mean 'tdnn'\?\); accep"),
        ("lstmp", r"unknown operation 'lstmp'.*accepted are: tdnn, identity, zero"),
        ("", "unknown operation ''"),
        ("tdnn-X1", r"'tdnn-X1': cannot read 'X1'.*context \(C\), right \(R\)"),
        ("tdnn-C1C2", "cannot read 'C2'"),
        ("tdnn-C", "cannot read 'C'"),
        ("tdnn-C-1", "cannot read 'C-1'"),
        ("tdnn-Nxx", "option 'norm' is 'xx'; accepted is one of ln, bn"),
        ("tdnn-S0", "option 'stride' is 0; accepted is an integer from 1 to 100000"),
        ("tdnn-Cln", "option 'context' is 'ln'; accepted is an integer from 0 to 1"),
        ("tdnn-W9999999", "option 'width' is 9999999; accepted is an integer from 1 t"),
        ({"op": "deltas", "order": 1.0}, "option 'order' is 1.0; accepted is one of"),
        ({"op": "deltas", "order": True}, "option 'order' is True"),
        ("identity-C1", r"cannot read 'C1'.*options once: none"),
        ("conv2d-S3", "option 'stride' is 3; accepted is one of 2, 4, 6, 8"),
        (7, "7 is not an operation"),
        (None, "None is not an operation"),
        ({"operation": "tdnn"}, "is not an operation"),
        ({"op": "tdnn", "kernel": 3}, "operation 'tdnn' has no option 'kernel'"),
        (
            "transformer-L3",
            "'transformer': option 'left' is 3, and there is no op",
        ),
        ("conformer-K5R5", "'conformer': option 'right' is 5; accepted are 0 to 4, si"),
        ({"op": "tdnn", "context": 1.5}, "option 'context' is 1.5"),
        ({"op": "tdnn", "context": True}, "option 'context' is True"),
        ({"op": ["tdnn"]}, "unknown operation"),
    ],
)
def test_wrong_operations_give_one_clear_sentence(value, message):
    with pytest.raises(ConfigError, match=message):
        parse_op(value, "here")


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize("text", ["tdnn-C2S1D3", "tdnn-C1S3D1", "tdnn-C2S2D2"])
def test_tdnn_length_is_that_of_the_convolution(text, length):
    o = parse_op(text, "here").options
    kernel = 2 * o["context"] + 1
    padding = o["context"] * o["dilation"]
    convolved = (length + 2 * padding - o["dilation"] * (kernel - 1) - 1) // o["stride"]
    assert parse_op(text, "here").output_length(length) == convolved + 1


def test_no_canonical_form_has_a_dot():
    # They name submodules, whose names torch does not let contain dots.
    assert all("." not in str(parse_op(name, "here")) for name in FAMILIES)
