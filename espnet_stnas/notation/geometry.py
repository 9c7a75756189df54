"""Geometry of operation families: widths, lengths and reach. No torch."""

from __future__ import annotations

import math
from functools import reduce

from espnet_stnas.notation.family import Options, OptionValue
from espnet_stnas.notation.lengths import Lengths

# The reach of operations that see the whole utterance, or its whole past.
EVERYTHING = (math.inf, math.inf)
PAST = (math.inf, 0)

# (kernel, stride) of the two or three 2-D convolutions of ESPnet's
# Conv2dSubsampling{2,4,6,8}, along time, without padding.
CONV2D_LAYERS: dict[OptionValue, tuple[tuple[int, int], ...]] = {
    2: ((3, 2), (3, 1)),
    4: ((3, 2), (3, 2)),
    6: ((3, 2), (5, 3)),
    8: ((3, 2), (3, 2), (3, 2)),
}


def own_width(options: Options, input_width: int, width: int) -> int:
    """Return the option width, or the width of the network; see :class:`OpFamily`."""
    own = options["width"]
    return width if own is None else int(own)


def kept_width(options: Options, input_width: int, width: int) -> int:
    """Return the option width, or the width of the input; see :class:`OpFamily`."""
    own = options["width"]
    return input_width if own is None else int(own)


def tdnn_lengths(options: Options) -> Lengths:
    """Return the lengths of time-delay layers."""
    # floor((L + d(k - 1) - d(k - 1) - 1) / s) + 1: as much padding as the kernel needs
    stride = int(options["stride"] or 1)
    return Lengths(stride, stride - 1)


def kernel_sides(options: Options) -> tuple[int, int]:
    """Return the taps of a time-delay kernel before and after the present frame."""
    left, right = int(options["context"] or 0), options.get("right")
    return left, left if right is None else int(right)


def tdnn_reach(options: Options) -> tuple[int, int]:
    """Return the reach of time-delay layers."""
    left, right = kernel_sides(options)
    dilation = int(options["dilation"] or 1)
    return left * dilation, right * dilation


def deformable_reach(options: Options) -> tuple[int, int]:
    """Return the reach of time-delay layers whose taps move."""
    left, right = tdnn_reach(options)
    moved = int(options["range"] or 0)
    return left + moved, right + moved


def conv2d_lengths(options: Options) -> Lengths:
    """Return the lengths of ESPnet's convolutional subsampling."""
    layers = CONV2D_LAYERS[options["stride"]]
    return reduce(
        Lengths.then, (Lengths(stride, stride - kernel) for kernel, stride in layers)
    )


def conv2d_reach(options: Options) -> tuple[int, int]:
    """Return the reach of ESPnet's convolutional subsampling."""
    right, step = 0, 1
    for kernel, stride in CONV2D_LAYERS[options["stride"]]:
        right += (kernel - 1) * step
        step *= stride
    return 0, right


def convolution_sides(options: Options, kernel: str) -> tuple[int, int]:
    """Return the taps of a convolution of an attention layer, before and after.

    The option right is the right side of the kernel, and at most the right side of a
    merging kernel. Without it, the present frame is in the middle.

    Args:
        options: The options of the operation.
        kernel: Name of the option that is the size of the kernel.
    """
    size, right = int(options[kernel] or 1), options["right"]
    half = (size - 1) // 2
    after = half if right is None else int(right)
    if kernel == "merge_kernel":
        after = min(after, half)
    return size - 1 - after, after


def past_frames(options: Options) -> int:
    """Return the frames before its chunk that chunked attention sees."""
    left = options["left"]
    return 2 * int(options["chunk"] or 0) if left is None else int(left)


def chunk_of(options: Options) -> int:
    """Return the frames of a chunk of attention; 1 if there are no chunks."""
    return int(options["chunk"] or 1)


def transformer_reach(options: Options) -> tuple[float, float]:
    """Return the reach of attention; see :class:`OpFamily`.

    Chunks begin at multiples of their size, so what is before them is rounded up.
    """
    if options["chunk"] is None:
        return EVERYTHING
    chunk = chunk_of(options)
    return -(-past_frames(options) // chunk) * chunk, 0


def conformer_reach(options: Options) -> tuple[float, float]:
    """Return the reach of attention with a convolution after it."""
    left, right = convolution_sides(options, "kernel_size")
    seen = transformer_reach(options)
    return seen[0] + left, seen[1] + right


def ebranchformer_reach(options: Options) -> tuple[float, float]:
    """Return the reach of attention and cgMLP side by side, and a merging kernel."""
    left, right = convolution_sides(options, "kernel_size")
    merge_left, merge_right = convolution_sides(options, "merge_kernel")
    seen = transformer_reach(options)
    return max(seen[0], left) + merge_left, seen[1] + right + merge_right


def check_chunk(options: Options) -> str:
    """Return what is wrong with the chunk of attention, or an empty text."""
    if options["chunk"] is None and options["left"] is not None:
        return (
            f"option 'left' is {options['left']}, and there is no option 'chunk'; "
            "accepted are both, or 'chunk' alone"
        )
    return ""


def check_conformer(options: Options) -> str:
    """Return what is wrong with kernel and chunk, or an empty text."""
    right, kernel = options["right"], int(options["kernel_size"] or 1)
    if right is not None and int(right) >= kernel:
        return (
            f"option 'right' is {right}; accepted are 0 to {kernel - 1}, since the "
            f"kernel has {kernel} frames"
        )
    return check_chunk(options)
