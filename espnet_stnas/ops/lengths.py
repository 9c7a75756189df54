"""Lengths and padding of batches of utterances."""

from __future__ import annotations

import torch


def padding_mask(lengths: torch.Tensor, max_length: int) -> torch.Tensor:
    """Return a mask that is true at padding frames.

    Args:
        lengths: Valid frames of each utterance (B,).
        max_length: Frames T of the padded batch.

    Returns:
        Boolean mask (B, T).

    >>> padding_mask(torch.tensor([3, 1]), 3).tolist()
    [[False, False, False], [False, True, True]]
    """
    frames = torch.arange(max_length, device=lengths.device)
    return frames >= lengths.unsqueeze(1)


def reversed_frames(xs_pad: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Reverse the order of frames in each utterance of a batch (B, T, D).

    Padding stays at the end.
    """
    frames = torch.arange(xs_pad.size(1), device=xs_pad.device)
    mirrored = lengths.unsqueeze(1) - 1 - frames
    index = torch.where(mirrored >= 0, mirrored, frames)
    return xs_pad.gather(1, index.unsqueeze(2).expand_as(xs_pad))


def zero_padding(xs_pad: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Set the padding frames of a batch (B, T, D) to zero."""
    mask = padding_mask(lengths, xs_pad.size(1))
    return xs_pad.masked_fill(mask.unsqueeze(2), 0.0)
