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


def joined(xs_pad: torch.Tensor, lengths: list[int], gap: int) -> torch.Tensor:
    """The utterances of a batch one behind the other, with nothing but a gap between.

    Args:
        xs_pad: Frames (B, T, D).
        lengths: Valid frames of each utterance, B of them.
        gap: Zero frames between two utterances.

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
    """Each utterance of a batch (B, T, D) from its last frame to its first.

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
