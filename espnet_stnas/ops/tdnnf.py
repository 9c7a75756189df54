"""Factorised time-delay layers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from espnet_stnas.notation.geometry import kernel_sides
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.norm import frame_norm, normalised
from espnet_stnas.ops.tdnn import FrameConv


class FactorisedTDNN(Operation):
    """Convolution to a bottleneck -> linear -> ReLU -> norm -> dropout.

    This is a time-delay layer whose weights are a product of two smaller matrices, as
    in TDNN-F (Povey et al. 2018), but the first matrix is not constrained to be
    semi-orthogonal.

    Args:
        spec: Options context, right (context), dilation, bottleneck (width; default an
            eighth of the output width), norm (``ln`` or ``bn``), width.
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.
    """

    streams = True

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        options: dict[str, Any] = spec.options
        bottleneck = options["bottleneck"] or max(1, self.output_width // 8)
        # No bias: the bias of the linear layer makes it redundant.
        self.conv = FrameConv(
            self.input_width,
            bottleneck,
            sides=kernel_sides(options),
            stride=1,
            dilation=options["dilation"],
            bias=False,
        )
        self.linear = torch.nn.Linear(bottleneck, self.output_width)
        self.norm = frame_norm(options["norm"], self.output_width)
        self.dropout = torch.nn.Dropout(self.dropout_rate)
        self.frame_local = options["norm"] == "ln"

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) to (B, T, D'); see :class:`Operation`."""
        ys = F.relu(self.linear(self.conv(xs_pad)))
        return self.dropout(normalised(self.norm, ys, ilens)), ilens
