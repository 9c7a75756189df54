"""The input frames that an output frame depends on. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Edge:
    """The first or the last input frame that output frame n depends on.

    It is ``floor((n * stride + shift) / chunk) * chunk + end``. Attention in chunks has
    a chunk above 1: all frames of one chunk see the same last frame. So two layers with
    the same chunks look no further ahead than one of them.

    Args:
        shift: Frames from the place of the output frame; may be infinite.
        chunk: Frames of a chunk; 1: there are no chunks.
        end: Frames from the start of the chunk; 0 without chunks.
    """

    shift: float = 0
    chunk: int = 1
    end: float = 0

    def extremes(self, stride: int) -> tuple[float, float]:
        """Return the least and the greatest distance from the place of a frame."""
        if self.chunk == 1:
            return self.shift, self.shift
        step = math.gcd(stride, self.chunk)
        least = self.shift % step
        most = least + self.chunk - step
        return self.shift - most + self.end, self.shift - least + self.end

    def then(self, stride: int, other: Edge, last: bool) -> Edge:
        """Return the edge of ``other`` on top of this one.

        Where chunks of two sizes do not fit into each other, the result may see up to
        a chunk more than there is.

        Args:
            stride: The stride of this edge.
            other: The edge above.
            last: Whether the edges are the last frames, not the first ones.
        """
        if math.isinf(self.shift) or math.isinf(other.shift):
            return Edge(math.inf if last else -math.inf)
        if other.chunk == 1:
            return Edge(self.shift + other.shift * stride, self.chunk, self.end)
        shift, chunk = other.shift * stride, other.chunk * stride
        inner = other.end * stride + self.shift
        if chunk % self.chunk == 0:
            return Edge(shift, chunk, inner // self.chunk * self.chunk + self.end)
        if self.chunk % chunk == 0:
            return Edge(shift + inner // chunk * chunk, self.chunk, self.end)
        outermost = self.extremes(1)[last]
        return Edge(outermost).then(stride, other, last)

    def outer(self, stride: int, other: Edge, last: bool) -> Edge:
        """Return an edge that sees what this one sees, and what another one sees.

        Args:
            stride: The stride of both edges.
            other: The other edge.
            last: Whether the edges are the last frames, not the first ones.
        """
        for one, two in ((self, other), (other, self)):
            if one._covers(stride, two, last):
                return one
        extremes = (*self.extremes(stride), *other.extremes(stride))
        return Edge(max(extremes) if last else min(extremes))

    def _covers(self, stride: int, other: Edge, last: bool) -> bool:
        """Return whether this edge surely sees all that the other one sees."""
        own, its = self.extremes(stride), other.extremes(stride)
        if own[0] >= its[1] if last else own[1] <= its[0]:
            return True
        if self.chunk % other.chunk:
            return False
        shift, end = self.shift - other.shift, self.end - other.end
        if last:
            return shift >= 0 and end >= self.chunk - other.chunk
        return shift <= 0 and end <= 0

    def inner(self, stride: int, other: Edge, last: bool) -> Edge:
        """Return an edge that sees no more than this one, and no more than another.

        Args:
            stride: The stride of both edges.
            other: The other edge.
            last: Whether the edges are the last frames, not the first ones.
        """
        if self == other:
            return self
        extremes = (*self.extremes(stride), *other.extremes(stride))
        return Edge(min(extremes) if last else max(extremes))


@dataclass(frozen=True)
class View:
    """The input frames that an output frame depends on.

    Output frame n depends on the input frames from ``n * stride - left`` to
    ``n * stride + right``, or on fewer, where attention works in chunks.

    Args:
        first: The first frame.
        last: The last frame.
        stride: Input frames per output frame.

    >>> from espnet_stnas.notation.reach import view_of
    >>> from espnet_stnas.notation.space import SearchSpace
    >>> view = view_of(SearchSpace.from_conf({"layers": ["tdnn-C1S3D1", "tdnn-C1D2"]}))
    >>> view.left, view.right, view.stride
    (7, 7, 3)
    """

    first: Edge = Edge()
    last: Edge = Edge()
    stride: int = 1

    @classmethod
    def of(cls, left: float, right: float, stride: int = 1, chunk: int = 1) -> View:
        """Return the view of an operation.

        Args:
            left: Input frames before, or before the chunk; infinite: the whole past.
            right: Input frames after, or up to the frame whose chunk is seen to the
                end; infinite: the whole future.
            stride: Input frames per output frame.
            chunk: Frames of a chunk; 1: there are no chunks.
        """
        return cls(Edge(-left, chunk), Edge(right, chunk, chunk - 1), stride)

    @property
    def left(self) -> float:
        """Input frames before, at most; infinite if the whole past counts."""
        return -self.first.extremes(self.stride)[0]

    @property
    def right(self) -> float:
        """Input frames after, at most; infinite if the whole future counts."""
        return self.last.extremes(self.stride)[1]

    def then(self, other: View) -> View:
        """Return the view of ``other`` on top of this one."""
        first = self.first.then(self.stride, other.first, False)
        last = self.last.then(self.stride, other.last, True)
        return View(first, last, self.stride * other.stride)

    def beside(self, other: View) -> View:
        """Return the union of two views with the same stride, or a little more."""
        first = self.first.outer(self.stride, other.first, False)
        last = self.last.outer(self.stride, other.last, True)
        return View(first, last, self.stride)

    def common(self, other: View) -> View:
        """Return a view that two views with the same stride do not fall below."""
        first = self.first.inner(self.stride, other.first, False)
        last = self.last.inner(self.stride, other.last, True)
        return View(first, last, self.stride)
