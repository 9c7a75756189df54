"""Batch norm of valid frames, deltas and 2-D convolutions against torch and ESPnet."""

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
LENGTHS = (41, 30, 29, 17)


def build(text: str, input_width: int = SIZE, width: int = 6, dropout: float = 0.0):
    return build_operation(parse_op(text, "here"), input_width, width, dropout).double()


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
