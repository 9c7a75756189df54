"""Depthwise-separable time-delay layers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from espnet_stnas.notation.geometry import kernel_sides
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.norm import frame_norm, normalised
from espnet_stnas.ops.tdnn import FrameConv


class SeparableConv(Operation):
    """Depthwise convolution -> linear -> ReLU -> norm -> dropout (Chollet 2017).

    This is a time-delay layer whose convolution treats each dimension separately; the
    linear (pointwise) layer then mixes the dimensions.

    Args:
        spec: Options context, right (context), stride, dilation, norm (``ln`` or
            ``bn``), width.
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.
    """

    streams = True

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        options: dict[str, Any] = spec.options
        # No bias: the bias of the linear layer makes it redundant.
        self.depthwise = FrameConv(
            self.input_width,
            self.input_width,
            sides=kernel_sides(options),
            stride=options["stride"],
            dilation=options["dilation"],
            groups=self.input_width,
            bias=False,
        )
        self.pointwise = torch.nn.Linear(self.input_width, self.output_width)
        self.norm = frame_norm(options["norm"], self.output_width)
        self.dropout = torch.nn.Dropout(self.dropout_rate)
        self.frame_local = options["stride"] == 1 and options["norm"] == "ln"

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) to (B, T', D'); see :class:`Operation`."""
        olens = self.depthwise.output_lengths(ilens)
        ys = F.relu(self.pointwise(self.depthwise(xs_pad)))
        return self.dropout(normalised(self.norm, ys, olens)), olens
