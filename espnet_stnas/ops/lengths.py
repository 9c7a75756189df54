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


def joined(xs_pad: torch.Tensor, lengths: list[int], gap: int) -> torch.Tensor:
    """Concatenate the utterances of a batch, with a gap of zeros between them.

    Args:
        xs_pad: Frames (B, T, D).
        lengths: Valid frames of each of the B utterances.
        gap: Number of zero frames between two utterances.

    Returns:
        Frames (1, sum of lengths + (B - 1) gap, D).
    """
    frames = xs_pad.new_zeros(sum(lengths) + gap * (len(lengths) - 1), xs_pad.size(2))
    start = 0
    for utterance, length in zip(xs_pad, lengths, strict=True):
        frames[start : start + length] = utterance[:length]
        start += length + gap
    return frames.unsqueeze(0)


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
