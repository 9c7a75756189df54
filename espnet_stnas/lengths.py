"""Frames and padding of batches of utterances."""

from __future__ import annotations

import torch


def padding_mask(lengths: torch.Tensor, max_length: int) -> torch.Tensor:
    """True where a frame is padding.

    Args:
        lengths: Valid frames of each utterance (B,).
        max_length: Frames of the padded batch, T.

    Returns:
        Boolean mask (B, T).
    """
    frames = torch.arange(max_length, device=lengths.device)
    return frames >= lengths.unsqueeze(1)


def zero_padding(xs_pad: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Set the padding frames of a batch (B, T, D) to zero."""
    mask = padding_mask(lengths, xs_pad.size(1))
    return xs_pad.masked_fill(mask.unsqueeze(2), 0.0)
