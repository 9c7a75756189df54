"""The base class of all operations."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.notation.view import View
from espnet_stnas.ops.borrowing import Borrowing
from espnet_stnas.ops.streaming import Form, Pointwise, Window
from espnet_stnas.ops.taps import TapProducts


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
    # True if, in evaluation, each output frame depends on the input frames of
    # `spec.view` only, and on where the utterance begins and ends. Frame-local
    # operations need not say so.
    streams: bool = False
    # Parts of equal size along the first dimension of a weight, by a part of its name:
    # the halves of gated layers. Candidates that share weights take rows of each part.
    stacked: Mapping[str, int] = {}
    # The weights that this operation takes from those of a choice, if they are shared.
    borrowing: Optional[Borrowing] = None

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

    def stacked_parts(self, name: str) -> int:
        """Return the number of parts that are stacked in a weight of this name."""
        found = [n for part, n in self.stacked.items() if part in name.split(".")]
        return found[0] if found else 1

    def shared_products(self, xs_pad: torch.Tensor) -> Optional[TapProducts]:
        """Return what operations with shared weights compute in common, if anything.

        Their ``forward`` then takes it as a third argument. Only operations that share
        their weights are asked.

        Args:
            xs_pad: Input frames (B, T, D), zero where padded.
        """
        return None

    def streaming(self) -> Form:
        """Return how the operation runs chunk by chunk.

        Operations that say so with ``streams``, and frame-local ones, need not define
        this.

        Raises:
            ConfigError: If the operation cannot do so.
        """
        view, spec = self.spec.view, self.spec
        if math.isinf(max(self.reach)):
            raise ConfigError(
                f"operation '{spec}' cannot run chunk by chunk, since it sees whole "
                "utterances; accepted are operations that see a limited part of them "
                "(docs/streaming.md)"
            )
        if not (self.streams or self.frame_local):
            raise ConfigError(
                f"operation '{spec}' cannot run chunk by chunk, since it does not say "
                "that it can; accepted are operations with streams or frame_local"
            )
        if view == View():
            return Pointwise(self, self.output_width)
        sizes = self.input_width, self.output_width
        return Window(self, sizes, view, spec.lengths)

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
