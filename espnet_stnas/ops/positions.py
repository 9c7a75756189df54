"""Scaling and positions of the frames that go into attention layers."""

from __future__ import annotations

import math
from typing import Any

import torch

from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.attention import check_even
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.espnet import espnet_part


class Positions(Operation):
    """What ESPnet's encoders do to the output of their input layer, with dropout.

    ``rel`` multiplies frames by the square root of their width; positions are made by
    the layers that follow (``conformer``, ``ebranchformer``). ``abs`` adds sinusoids,
    too, for ``transformer`` layers. Has no parameters.

    Args:
        spec: Option positions (``rel`` or ``abs``).
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.

    Raises:
        ConfigError: If sinusoids are wanted for an odd width.
    """

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        self.absolute = spec.options["positions"] == "abs"
        self.frame_local = not self.absolute
        if self.absolute:
            check_even(spec, self.output_width)
            encoding = espnet_part("PositionalEncoding", str(spec))
            # Without its dropout, which would come before the type is as it was.
            self.encoding = encoding(self.output_width, 0.0, max_len=1)
        self.dropout = torch.nn.Dropout(self.dropout_rate)

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale (B, T, D), and add positions; see :class:`Operation`."""
        if not self.absolute:
            return self.dropout(xs_pad * math.sqrt(self.output_width)), ilens
        # In float32 at least, see RelativePositions.
        dtype = torch.promote_types(xs_pad.dtype, torch.float32)
        return self.dropout(self.encoding(xs_pad.to(dtype)).to(xs_pad.dtype)), ilens
