"""Forms of operations (:mod:`espnet_stnas.ops.streaming`) with tensors of fixed sizes.

A graph cannot have frames whose number changes from call to call. Here they stand at
the start of a tensor of fixed size, and their number is a tensor, too. What a state
keeps of the past stands at the end of such a tensor, so that the frames of a call
follow without a gap.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from espnet_stnas.ops.streaming import State


class Part(NamedTuple):
    """Frames on their way through the network.

    Args:
        frames: Frames (1, T, D), zero behind the valid ones.
        valid: How many are valid (1,), int64.
        final: Whether the utterance ends with them (1,), bool.
    """

    frames: torch.Tensor
    valid: torch.Tensor
    final: torch.Tensor


class Step(torch.nn.Module):
    """A form for calls with a limited number of frames.

    If more frames become certain at the end of an utterance than a call returns, the
    rest comes with the next calls, which must also be final.

    Args:
        most: The most frames that a call returns.
        lag: A call returns all frames that need no more than the input frames up to
            so many before the last one.
        stride: Input frames per output frame.
    """

    def __init__(self, most: int, lag: int = 0, stride: int = 1) -> None:
        super().__init__()
        self.most, self.lag, self.stride = most, lag, stride

    def start(self) -> State:
        """Return the state before the first frame: zeros (1, ...)."""
        return {}

    def forward(self, part: Part, state: State) -> tuple[Part, State]:
        """Transform the next frames (1, T, D) of an utterance.

        Args:
            part: The frames.
            state: The state after the frames before.

        Returns:
            The frames (1, T', D') that are certain now and were not returned before,
            and the next state.
        """
        raise NotImplementedError


def zero() -> torch.Tensor:
    """Return the number 0 (1,)."""
    return torch.zeros(1, dtype=torch.long)


def taken(
    xs: torch.Tensor, first: torch.Tensor, size: int, dim: int = 1
) -> torch.Tensor:
    """Return ``size`` frames (1, T, D) from the given one (1,) on.

    Frames that do not exist are any others.

    Args:
        xs: Frames (1, T, D) or (1, D, T).
        first: The first frame to take (1,).
        size: How many to take.
        dim: The dimension of T.
    """
    places = (first + torch.arange(size)).clamp(min=0, max=xs.size(dim) - 1)
    return xs.index_select(dim, places)
