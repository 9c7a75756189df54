"""A feed-forward layer, made of ESPnet's parts."""

from __future__ import annotations

from typing import Any

import torch

from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.espnet import espnet_part


class FeedForward(Operation):
    """x + feed-forward(norm(x)): the feed-forward part of ESPnet's conformer layer.

    Args:
        spec: Option feed_forward (width; default 4 times the width of a frame).
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.
    """

    frame_local = True

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        name = str(spec)
        self.norm = espnet_part("LayerNorm", name)(self.output_width)
        self.feed_forward = espnet_part("PositionwiseFeedForward", name)(
            self.output_width,
            spec.options["feed_forward"] or 4 * self.output_width,
            self.dropout_rate,
            espnet_part("Swish", name)(),
        )
        self.dropout = torch.nn.Dropout(self.dropout_rate)

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) to (B, T, D); see :class:`Operation`."""
        return xs_pad + self.dropout(self.feed_forward(self.norm(xs_pad))), ilens
