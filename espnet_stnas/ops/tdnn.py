"""Time-delay layers (dilated 1-D convolutions), the candidates of the paper."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.norm import MaskedBatchNorm
from espnet_stnas.spec import OpSpec


class TDNN(Operation):
    """Convolution -> ReLU -> norm -> dropout (Zheng et al. 2021, section 4).

    The convolution has kernel 2c + 1, stride s, dilation d and padding cd, so that
    ``tdnn-C<c>S<s>D<d>`` sees cd frames to each side and L frames give
    floor((L - 1) / s) + 1.

    Args:
        spec: Options context, stride, dilation, norm (``ln`` or ``bn``).
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.
    """

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        options: dict[str, Any] = spec.options
        context, dilation = options["context"], options["dilation"]
        self.conv = torch.nn.Conv1d(
            self.input_width,
            self.output_width,
            kernel_size=2 * context + 1,
            stride=options["stride"],
            padding=context * dilation,
            dilation=dilation,
        )
        self.norm: torch.nn.Module = (
            torch.nn.LayerNorm(self.output_width)
            if options["norm"] == "ln"
            else MaskedBatchNorm(self.output_width)
        )
        self.dropout = torch.nn.Dropout(self.dropout_rate)

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) to (B, T', D'); see :class:`Operation`."""
        olens = self.spec.output_length(ilens)
        ys = self._convolve(xs_pad)
        if isinstance(self.norm, MaskedBatchNorm):
            ys = self.norm(ys, olens)
        else:
            ys = self.norm(ys)
        return self.dropout(ys), olens

    def _convolve(self, xs_pad: torch.Tensor) -> torch.Tensor:
        """Apply `self.conv` and ReLU to (B, T, D).

        As a 2-D convolution over images of height 1 with the channels last, which is
        how frames lie in memory: `Conv1d` would copy to (B, D, T) and back, and its
        kernels are slower on a CPU (benchmarks/convolution.py).
        """
        conv = self.conv
        images = xs_pad.transpose(1, 2).unsqueeze(2)
        images = F.conv2d(
            images,
            conv.weight.unsqueeze(2),
            conv.bias,
            stride=(1, *conv.stride),
            padding=(0, *conv.padding),
            dilation=(1, *conv.dilation),
        )
        return F.relu(images, inplace=True).squeeze(2).transpose(1, 2)
