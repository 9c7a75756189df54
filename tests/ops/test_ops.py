"""One suite over all operations: shapes, lengths, padding, gradients."""

from __future__ import annotations

import pytest
import torch
from torchaudio.functional import compute_deltas

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.spec import parse_op
from espnet_stnas.ops import build_operation
from espnet_stnas.ops.lengths import padding_mask, zero_padding
from espnet_stnas.ops.norm import MaskedBatchNorm
from tests.conftest import batch

SIZE = 16
OPERATIONS = [
    "tdnn-C1D1",
    "tdnn-C2D2",
    "tdnn-C0D1",
    "tdnn-C1S3D1",
    "tdnn-C2S2D3W5",
    "tdnn-C2D2Nbn",
    "tdnn-C1S3D1Nbn",
    "identity",
    "zero",
    "deltas-O1",
    "deltas-O2",
    "conv2d-S2",
    "conv2d-S4",
    "conv2d-S6",
    "conv2d-S8",
]
LENGTHS = (41, 30, 29, 17)


def build(text: str, input_width: int = SIZE, width: int = 6, dropout: float = 0.0):
    return build_operation(parse_op(text, "here"), input_width, width, dropout).double()


@pytest.mark.parametrize("text", OPERATIONS)
def test_shapes_and_lengths(text):
    xs, ilens = batch(LENGTHS, SIZE)
    ys, olens = build(text)(zero_padding(xs, ilens), ilens)
    spec = parse_op(text, "here")
    assert olens.dtype == torch.long
    assert olens.tolist() == [spec.output_length(n) for n in LENGTHS]
    assert ys.shape == (len(LENGTHS), max(olens), spec.output_width(SIZE, 6))


# Batch norm in training depends on the batch by design; it has tests of its own.
@pytest.mark.parametrize(
    ("text", "train"),
    [(o, t) for o in OPERATIONS for t in (False, True) if not (t and "Nbn" in o)],
)
def test_padding_does_not_change_valid_frames(text, train):
    """Each utterance alone, cut to its length, gives what it gives in the batch."""
    operation = build(text).train(train)
    xs, ilens = batch(LENGTHS, SIZE)
    ys, olens = operation(zero_padding(xs, ilens), ilens)
    for i, length in enumerate(LENGTHS):
        alone, alone_length = operation(xs[i : i + 1, :length], ilens[i : i + 1])
        assert alone_length == olens[i]
        torch.testing.assert_close(ys[i, : olens[i]], alone[0, : olens[i]])


@pytest.mark.parametrize("text", [o for o in OPERATIONS if o != "zero"])
def test_gradients(text):
    operation = build(text)
    xs, ilens = batch((33, 17), SIZE)
    xs = zero_padding(xs, ilens).requires_grad_()
    ys, olens = operation(xs, ilens)
    zero_padding(ys, olens).square().sum().backward()
    assert xs.grad.shape == xs.shape
    assert xs.grad[0, :15].abs().sum() > 0
    for name, parameter in operation.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("text", ["tdnn-C1D1", "tdnn-C2D2Nbn"])
def test_expected_output_has_no_dropout_and_draws_nothing(text):
    operation = build(text, dropout=0.5).train()
    plain = build(text, dropout=0.0).train()
    plain.load_state_dict(operation.state_dict())
    xs, ilens = batch(LENGTHS, SIZE)
    xs = zero_padding(xs, ilens)
    state = torch.get_rng_state()
    torch.testing.assert_close(
        operation.without_dropout(xs, ilens), plain(xs, ilens)[0]
    )
    assert torch.equal(state, torch.get_rng_state())
    assert (operation(xs, ilens)[0] == 0).float().mean() > 0.3, "dropout is on again"


def test_masked_batch_norm_uses_valid_frames_only():
    norm = MaskedBatchNorm(SIZE).double()
    xs, lengths = batch(LENGTHS, SIZE)
    ys = norm(xs, lengths)
    valid = ~padding_mask(lengths, xs.size(1))
    torch.testing.assert_close(ys[valid].mean(0), torch.zeros(SIZE).double())
    torch.testing.assert_close(
        ys[valid].var(0, unbiased=False), torch.ones(SIZE).double(), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(norm.running_mean, 0.1 * xs[valid].mean(0))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * xs[valid].var(0))
    assert ys[~valid].abs().sum() == 0


def test_masked_batch_norm_of_one_frame_uses_running_statistics():
    norm = MaskedBatchNorm(SIZE).double()
    xs, lengths = batch((1,), SIZE)
    ys = norm(xs, lengths)
    torch.testing.assert_close(ys, xs / (1 + norm.eps) ** 0.5)
    assert norm.running_mean.abs().sum() == 0


def test_masked_batch_norm_in_evaluation_is_torchs():
    norm = MaskedBatchNorm(SIZE).double()
    norm(*batch(LENGTHS, SIZE))
    norm.eval()
    xs, lengths = batch((9, 9), SIZE)
    reference = torch.nn.BatchNorm1d(SIZE).double().eval()
    reference.load_state_dict(norm.state_dict())
    expected = reference(xs.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(norm(xs, lengths), expected)


def test_deltas_are_torchaudios_of_each_utterance():
    xs, ilens = batch(LENGTHS, SIZE)
    ys, _ = build("deltas")(zero_padding(xs, ilens), ilens)
    for i, length in enumerate(LENGTHS):
        first = compute_deltas(xs[i, :length].T)
        parts = [xs[i, :length].T, first, compute_deltas(first)]
        torch.testing.assert_close(ys[i, :length], torch.cat(parts).T)


def test_conv2d_too_short_utterance_is_espnets_error():
    from espnet_stnas.ops.espnet import too_short_error

    xs, ilens = batch((6,), SIZE)
    with pytest.raises(type(too_short_error("", 0)), match="6 frames are too few"):
        build("conv2d-S4")(xs, ilens)


def test_conv2d_needs_dimensions():
    with pytest.raises(ConfigError, match="'conv2d-S8' needs more than 14 input dim"):
        build("conv2d-S8", input_width=14)
