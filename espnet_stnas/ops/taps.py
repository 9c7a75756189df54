"""Products of frames with the taps of a kernel that several convolutions share."""

from __future__ import annotations

import torch
import torch.nn.functional as F


class TapProducts:
    """Products of frames with each tap of a kernel.

    Convolutions that share the kernel differ only in which products they add up, and
    at which distance. A larger one of the same dilation continues the sum of a smaller
    one. No gradient passes through.

    Args:
        xs_pad: Frames (B, T, D).
        weight: Kernel (D', D, k).
    """

    def __init__(self, xs_pad: torch.Tensor, weight: torch.Tensor) -> None:
        outputs, inputs, taps = weight.shape
        matrix = weight.permute(2, 0, 1).reshape(taps * outputs, inputs)
        self._products = _product(xs_pad, matrix).unflatten(2, (taps, outputs))
        # By dilation and present tap: the taps that are summed, and their sum.
        self._sums: dict[tuple[int, int], tuple[range, torch.Tensor]] = {}

    def sum(self, taps: range, present: int, dilation: int) -> torch.Tensor:
        """Return the convolution (B, T, D') with some of the taps.

        The tensor is valid until the next call.

        Args:
            taps: The taps; ``present`` is among them.
            present: The tap for the present frame.
            dilation: Distance between the frames of the kernel.
        """
        key = dilation, present
        done, ys = self._sums.get(key, (None, None))
        if done is None or ys is None or done[0] < taps[0] or done[-1] > taps[-1]:
            done = range(present, present + 1)
            ys = self._products[:, :, present].clone()
        frames = ys.size(1)
        for tap in taps:
            shift = (tap - present) * dilation
            to, since = max(0, -shift), max(0, shift)
            count = frames - abs(shift)
            if tap not in done and count > 0:
                ys[:, to : to + count] += self._products[:, since : since + count, tap]
        self._sums[key] = taps, ys
        return ys


def _product(xs_pad: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Multiply frames (B, T, D) with a matrix (N, D); returns (B, T, N)."""
    if xs_pad.device.type != "cpu":
        return F.linear(xs_pad, matrix)
    # On a CPU, torch multiplies matrices with MKL, which is half as fast on an AMD EPYC
    # as oneDNN, and takes oneDNN for a convolution of one tap only if it is dilated,
    # which changes nothing.
    images = xs_pad.transpose(1, 2).unsqueeze(2)
    products = F.conv2d(images, matrix[:, :, None, None], dilation=(1, 2))
    return products.squeeze(2).transpose(1, 2)
