"""Time-delay layers with grouped convolutions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.norm import frame_norm, normalised
from espnet_stnas.ops.tdnn import FrameConv


class GroupedTDNN(Operation):
    """Grouped convolution -> ReLU -> norm -> dropout.

    The dimensions of a frame are cut into groups, and each group of outputs sees one
    group of inputs. So the layer has a G-th of the weights of ``tdnn``. Groups are not
    mixed; other layers must do that. The convolutions of NAS-Bench-ASR (Mehrotra et
    al. 2021) are of this kind, with 100 groups and no norm.

    Args:
        spec: Options context, stride, dilation, groups, norm (``ln``, ``bn`` or
            ``none``), width.
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.

    Raises:
        ConfigError: If a width is not a multiple of the number of groups.
    """

    streams = True

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        options: dict[str, Any] = spec.options
        context, groups, norm = (options[key] for key in ("context", "groups", "norm"))
        for width in (self.input_width, self.output_width):
            if width % groups:
                raise ConfigError(
                    f"operation '{spec}': option 'groups' is {groups}; accepted are "
                    f"divisors of its widths, one of which is {width}"
                )
        self.conv = FrameConv(
            self.input_width,
            self.output_width,
            sides=(context, context),
            stride=options["stride"],
            dilation=options["dilation"],
            groups=groups,
        )
        self.norm = (
            torch.nn.Identity()
            if norm == "none"
            else frame_norm(norm, self.output_width)
        )
        self.dropout = torch.nn.Dropout(self.dropout_rate)
        self.frame_local = options["stride"] == 1 and norm != "bn"

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) to (B, T', D'); see :class:`Operation`."""
        olens = self.conv.output_lengths(ilens)
        ys = F.relu(self.conv(xs_pad))
        return self.dropout(normalised(self.norm, ys, olens)), olens
