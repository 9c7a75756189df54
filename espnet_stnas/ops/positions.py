"""Scales frames and adds positions in front of attention layers."""

from __future__ import annotations

import math
from typing import Any

import torch

from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.attention import check_even
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.espnet import espnet_part
from espnet_stnas.ops.streaming import Form, State


class Positions(Operation):
    """Applies scaling, positions and dropout like the input layer of ESPnet's encoders.

    ``rel`` multiplies frames by the square root of their width; the layers that follow
    (``conformer``, ``ebranchformer``) compute their own positions. ``abs`` also adds
    sinusoids, for ``transformer`` layers. The operation has no parameters.

    Args:
        spec: Option positions (``rel`` or ``abs``).
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.

    Raises:
        ConfigError: If positions are ``abs`` and the width is odd.
    """

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        self.absolute = spec.options["positions"] == "abs"
        self.frame_local = not self.absolute
        if self.absolute:
            check_even(spec, self.output_width)
            encoding = espnet_part("PositionalEncoding", str(spec))
            # Its own dropout is off: it would come before the cast to the input's type.
            self.encoding = encoding(self.output_width, 0.0, max_len=1)
        self.dropout = torch.nn.Dropout(self.dropout_rate)

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale (B, T, D) and add positions; see :class:`Operation`."""
        if not self.absolute:
            return self.dropout(xs_pad * math.sqrt(self.output_width)), ilens
        # At least float32, see RelativePositions.
        dtype = torch.promote_types(xs_pad.dtype, torch.float32)
        return self.dropout(self.encoding(xs_pad.to(dtype)).to(xs_pad.dtype)), ilens

    def with_sinusoids(self, xs: torch.Tensor, first: int) -> torch.Tensor:
        """Scale the frames (B, T, D) from the given number on, and add sinusoids."""
        dtype = torch.promote_types(xs.dtype, torch.float32)
        stop = first + xs.size(1)
        # A power of 2, since ESPnet computes all of them anew for more frames.
        size = 2 ** max(0, stop - 1).bit_length()
        self.encoding.extend_pe(torch.zeros((1, size), dtype=dtype, device=xs.device))
        sinusoids = self.encoding.pe[:, first:stop]
        scaled = xs.to(dtype) * math.sqrt(self.output_width)
        return self.dropout((scaled + sinusoids).to(xs.dtype))

    def streaming(self) -> Form:
        """Return a form that counts frames, if positions are absolute."""
        return Counting(self) if self.absolute else super().streaming()


class Counting(Form):
    """Adds the positions of frames that are counted from the first one on.

    Args:
        positions: The operation.
    """

    def __init__(self, positions: Positions) -> None:
        super().__init__(positions.output_width)
        self.positions = positions

    def start(self, like: torch.Tensor) -> State:
        """Return the number of frames (B,) so far, 0; see :class:`Form`."""
        return {"seen": torch.zeros(like.size(0), dtype=torch.long, device=like.device)}

    def step(
        self, xs: torch.Tensor, state: State, final: bool
    ) -> tuple[torch.Tensor, State]:
        """Add positions to frames (B, T, D); see :class:`Form`."""
        seen, count = int(state["seen"][0]), xs.size(1)
        ys = self.positions.with_sinusoids(xs, seen)
        return ys, {"seen": state["seen"] + count}
