"""The base class of all operations."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from espnet_stnas.notation.spec import OpSpec


class Operation(torch.nn.Module, ABC):
    """Maps a padded batch of frame sequences to another one.

    The contract of ``forward(xs_pad, ilens)``: the padding frames of ``xs_pad``
    (B, T, D) are zero; valid output frames do not depend on the amount of padding;
    padding frames of the output may hold anything, since the network sets them to zero.
    Lengths are integers (B,).

    Args:
        spec: The operation with its options.
        input_width: Dimensions of an input frame.
        output_width: Dimensions of an output frame.
        dropout_rate: Dropout probability of an output.
    """

    # True if each input frame gives one output frame that depends only on the input
    # frames within `spec.reach`, not on its position, the length of the utterance or
    # other utterances. Such candidates are scored without padding.
    frame_local: bool = False

    def __init__(
        self,
        spec: OpSpec,
        *,
        input_width: int,
        output_width: int,
        dropout_rate: float,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.input_width = input_width
        self.output_width = output_width
        self.dropout_rate = dropout_rate
        self.reach = spec.reach
        """Input frames seen to the left and to the right of a frame."""

    @abstractmethod
    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform a batch.

        Args:
            xs_pad: Input frames (B, T, D), zero where padded.
            ilens: Valid input frames (B,).

        Returns:
            Output frames (B, T', D') and their valid lengths (B,).
        """
