"""Time-delay layers (dilated 1-D convolutions), the paper's candidates."""

from __future__ import annotations

from typing import Any, Optional

import torch
import torch.nn.functional as F

from espnet_stnas.notation.geometry import kernel_sides
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.norm import frame_norm, normalised
from espnet_stnas.ops.taps import TapProducts


class FrameConv(torch.nn.Module):
    """1-D convolution over frames (B, T, D), with weights (D', D / groups, kernel).

    It runs as a 2-D convolution over images of height 1 in the channels-last format,
    which is the memory layout of frames and of these weights. `torch.nn.Conv1d` would
    copy to (B, D, T) and back, and its kernels are slower on a CPU
    (benchmarks/convolution.py). Initial values and the shape of the weights are as in
    `torch.nn.Conv1d`, so that ESPnet's option ``init``, which goes by shapes, scales
    both alike.

    Args:
        input_width: Width D.
        output_width: Width D'.
        sides: Frames in the kernel before and after the present one. As many frames,
            times the dilation, are padded with zeros there.
        stride: Input frames per output frame.
        dilation: Distance between the frames of the kernel.
        groups: Number of groups of dimensions that are convolved separately.
        bias: Whether the convolution has a bias.
    """

    def __init__(
        self,
        input_width: int,
        output_width: int,
        sides: tuple[int, int],
        stride: int,
        dilation: int,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.taps_before, after = sides
        self.padding = self.taps_before * dilation, after * dilation
        kernel = self.taps_before + 1 + after
        like = torch.nn.Conv1d(
            input_width, output_width, kernel, groups=groups, bias=bias
        )
        # Channels last in memory; the shape stays as in Conv1d.
        weight = like.weight.detach().transpose(1, 2).contiguous().transpose(1, 2)
        self.weight = torch.nn.Parameter(weight)
        self.bias = (
            None if like.bias is None else torch.nn.Parameter(like.bias.detach())
        )

    def forward(self, xs_pad: torch.Tensor) -> torch.Tensor:
        """Transform (B, T, D) to (B, T', D')."""
        left, right = self.padding
        if left != right:
            # The convolution itself pads both sides alike.
            xs_pad = F.pad(xs_pad, (0, 0, left, right))
        images = F.conv2d(
            xs_pad.transpose(1, 2).unsqueeze(2),
            self.weight.unsqueeze(2),
            self.bias,
            stride=(1, self.stride),
            padding=(0, left if left == right else 0),
            dilation=(1, self.dilation),
            groups=self.groups,
        )
        return images.squeeze(2).transpose(1, 2)

    def from_products(self, products: TapProducts, first: int) -> torch.Tensor:
        """Return the same as :meth:`forward`, from the products of all taps.

        Args:
            products: Products with the taps of a kernel of this or a larger size.
            first: The tap of that kernel that is the first one here.
        """
        taps = range(first, first + self.weight.size(2))
        ys = products.sum(taps, first + self.taps_before, self.dilation)
        ys = ys[:, :: self.stride]
        return ys.clone() if self.bias is None else ys + self.bias

    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Return the output frames (B,) of valid input frames (B,)."""
        return (ilens - 1) // self.stride + 1


class TDNN(Operation):
    """Convolution -> ReLU -> norm -> dropout (Zheng et al. 2021, section 4).

    The convolution of ``tdnn-C<c>R<r>S<s>D<d>`` has kernel c + 1 + r (without R, r is
    c), stride s, dilation d, and cd and rd frames of padding. So an output frame
    depends on cd frames before and rd frames after, and L input frames give
    floor((L - 1) / s) + 1 output frames. With R0, it is causal.

    Args:
        spec: Options context, right (context), stride, dilation, norm (``ln`` or
            ``bn``), width.
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.

    >>> from espnet_stnas.notation.spec import parse_op
    >>> from espnet_stnas.ops import build_operation
    >>> tdnn = build_operation(parse_op("tdnn-C1S3D1", "layers[1]"), 40, 64, 0.0)
    >>> ys, olens = tdnn(torch.randn(2, 9, 40), torch.tensor([9, 4]))
    >>> tuple(ys.shape), olens.tolist()
    ((2, 3, 64), [3, 2])
    """

    streams = True

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        options: dict[str, Any] = spec.options
        self.conv = FrameConv(
            self.input_width,
            self.output_width,
            sides=kernel_sides(options),
            stride=options["stride"],
            dilation=options["dilation"],
        )
        self.norm = frame_norm(options["norm"], self.output_width)
        self.dropout = torch.nn.Dropout(self.dropout_rate)
        self.frame_local = options["stride"] == 1 and options["norm"] == "ln"

    def shared_products(self, xs_pad: torch.Tensor) -> Optional[TapProducts]:
        """Multiply frames (B, T, D) with the taps of the shared kernel."""
        assert self.borrowing is not None
        weight = self.borrowing.shared.get_parameter("conv.weight")
        return TapProducts(xs_pad, weight)

    def forward(
        self,
        xs_pad: torch.Tensor,
        ilens: torch.Tensor,
        products: Optional[TapProducts] = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) to (B, T', D'); see :class:`Operation`."""
        olens = self.conv.output_lengths(ilens)
        if products is None:
            convolved = self.conv(xs_pad)
        else:
            assert self.borrowing is not None
            first = self.borrowing.first_tap("conv.weight")
            convolved = self.conv.from_products(products, first)
        ys = F.relu(convolved, inplace=True)
        return self.dropout(normalised(self.norm, ys, olens)), olens
