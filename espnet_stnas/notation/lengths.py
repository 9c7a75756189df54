"""Exact arithmetic on the numbers of frames. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional


@dataclass(frozen=True)
class Lengths:
    """The number of frames that come out: floor((frames + offset) / stride).

    Convolutions with strides give such numbers. So do several in sequence, since
    floor((floor(x / m) + k) / n) = floor((x + m k) / (m n)). Each such map has one
    stride and one offset only, so two maps are the same if these are equal.

    Args:
        stride: Input frames per output frame.
        offset: For padding at all borders, stride - 1: the quotient is rounded up. For
            a kernel of k frames without padding, stride - k.

    >>> from espnet_stnas.notation.lengths import Lengths
    >>> Lengths(3, 2).then(Lengths(2, 1)) == Lengths(6, 5)
    True
    """

    stride: int = 1
    offset: int = 0

    def __call__(self, frames: Any) -> Any:
        """Return the output frames of an int, or of a LongTensor of lengths (B,)."""
        return (frames + self.offset) // self.stride

    def then(self, other: Lengths) -> Lengths:
        """Return the map of this one followed by another one."""
        return Lengths(
            self.stride * other.stride, self.offset + self.stride * other.offset
        )

    def difference(self, other: Lengths) -> Optional[int]:
        """Return the fewest frames of which both make different numbers, or None.

        Numbers below 0 count as 0. As long as both maps agree, they grow at the same
        numbers of frames. Two maps of different strides cannot do so three times in a
        row, and two of one stride either always do or never.
        """
        if self == other:
            return None
        maps = (self, other)
        start = min(max(1, m.stride - m.offset) for m in maps)  # one gives a frame
        tried = [start]
        for m in maps:
            grows = start + m.stride - (start + m.offset) % m.stride
            tried += [grows, grows + m.stride]
        return min(n for n in tried if max(0, self(n)) != max(0, other(n)))
