"""Operations without parameters."""

from __future__ import annotations

import torch

from espnet_stnas.ops.base import Operation


class Identity(Operation):
    """Passes its input on."""

    frame_local = True

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the input; see :class:`Operation`."""
        return xs_pad, ilens


class Zero(Operation):
    """Puts out zeros; inside a skip connection, this removes the layer."""

    frame_local = True

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return zeros of the input's shape; see :class:`Operation`."""
        return torch.zeros_like(xs_pad), ilens
