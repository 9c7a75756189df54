"""Deformable time-delay layers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.norm import frame_norm, normalised
from espnet_stnas.ops.tdnn import FrameConv


class DeformableTDNN(Operation):
    """Convolution over frames at learnt places -> ReLU -> norm -> dropout.

    A second convolution over the same frames says, for each output frame and each tap
    of the kernel, how far from its usual place the tap reads: from -O to O frames.
    Between two frames, it reads their linear interpolation (An, Zhang and Ou 2021,
    arXiv:2104.14791). With O, the look-ahead stays known. At first all offsets are
    zero, and the layer is ``tdnn``.

    Args:
        spec: Options context, stride, dilation, range (O), norm (``ln`` or ``bn``),
            width.
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.
    """

    streams = True

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        options: dict[str, Any] = spec.options
        context = options["context"]
        self.range: int = options["range"]
        taps = 2 * context + 1
        self.conv, self.offsets = (
            FrameConv(
                self.input_width,
                outputs,
                sides=(context, context),
                stride=options["stride"],
                dilation=options["dilation"],
            )
            for outputs in (self.output_width, taps)
        )
        for parameter in self.offsets.parameters():
            torch.nn.init.zeros_(parameter)
        self.norm = frame_norm(options["norm"], self.output_width)
        self.dropout = torch.nn.Dropout(self.dropout_rate)
        self.frame_local = options["stride"] == 1 and options["norm"] == "ln"

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) to (B, T', D'); see :class:`Operation`."""
        conv = self.conv
        olens = conv.output_lengths(ilens)
        offsets = self.range * torch.tanh(self.offsets(xs_pad))
        padding = conv.padding[0]
        taps = torch.arange(conv.weight.size(2), device=xs_pad.device)
        frames = torch.arange(offsets.size(1), device=xs_pad.device)
        places = frames[:, None] * conv.stride + taps * conv.dilation - padding
        # Every frame that an offset may reach exists.
        margin = padding + self.range + 1
        read = interpolated(
            F.pad(xs_pad, (0, 0, margin, margin)), places + margin, offsets
        )
        matrix = conv.weight.transpose(1, 2).flatten(1)
        ys = F.relu(F.linear(read.flatten(2), matrix, conv.bias))
        return self.dropout(normalised(self.norm, ys, olens)), olens


def interpolated(
    xs: torch.Tensor, places: torch.Tensor, offsets: torch.Tensor
) -> torch.Tensor:
    """Read frames at places between frames, by linear interpolation.

    Args:
        xs: Frames (B, T, D).
        places: Frame numbers (T', K), to which the offsets are added.
        offsets: Offsets (B, T', K) in frames; no sum is below 0 or at T - 1 or later.

    Returns:
        What was read (B, T', K, D).
    """
    # The sums would lose precision in long utterances.
    below = offsets.detach().floor()
    index = (places + below.long()).flatten(1).unsqueeze(2).expand(-1, -1, xs.size(2))
    shape = (*offsets.shape, xs.size(2))
    before, after = (xs.gather(1, index + n).view(shape) for n in (0, 1))
    return torch.lerp(before, after, (offsets - below).unsqueeze(3))
