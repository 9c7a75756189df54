"""The simplest operations: identity, zero and norm."""

from __future__ import annotations

from typing import Any

import torch

from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.espnet import espnet_part


class Identity(Operation):
    """Returns its input."""

    frame_local = True

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the input; see :class:`Operation`."""
        return xs_pad, ilens


class Zero(Operation):
    """Returns zeros; inside a skip connection, this removes the layer."""

    frame_local = True

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return zeros (B, T, D'); see :class:`Operation`."""
        return xs_pad.new_zeros(*xs_pad.shape[:2], self.output_width), ilens


class Norm(Operation):
    """The layer norm at the end of ESPnet's pre-norm encoders."""

    frame_local = True

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        self.norm = espnet_part("LayerNorm", str(spec))(self.output_width)

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalise each frame; see :class:`Operation`."""
        return self.norm(xs_pad), ilens
