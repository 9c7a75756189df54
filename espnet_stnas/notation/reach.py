"""Computes how much of an utterance an output frame depends on. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Callable

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote
from espnet_stnas.notation.family import MAX_SIZE
from espnet_stnas.notation.lengths import Lengths
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.topology import Algebra, Layer, fold
from espnet_stnas.notation.view import View

__all__ = ["FRAME_SHIFT", "View", "describe_view", "layer_views", "view_of"]

# The frame shift of most of ESPnet's recipes, in milliseconds.
FRAME_SHIFT = 10.0


def view_of(architecture: SearchSpace) -> View:
    """Return the view of an architecture, or the widest view in a search space."""
    return fold(architecture.nodes, _Views(architecture.layers, {})).view


def narrowest_view(space: SearchSpace) -> View:
    """Return a view that no architecture of a space falls below, to either side."""
    return fold(space.nodes, _Views(space.layers, {}, View.common)).view


def layer_views(space: SearchSpace) -> tuple[View, ...]:
    """Return the view of every layer: the input frames that its output depends on.

    In a branch over the reversed utterance, before and after refer to the reversed
    order.

    Args:
        space: An architecture, or a search space (then the widest possible views).
    """
    found: dict[int, View] = {}
    fold(space.nodes, _Views(space.layers, found)).note(View())
    return tuple(found[index] for index in range(len(space.layers)))


def describe_view(view: View, frame_shift: float = FRAME_SHIFT) -> str:
    """Describe receptive field, look-ahead and frame rate in words.

    Args:
        view: The input frames that an output frame depends on.
        frame_shift: Milliseconds from one input frame to the next.

    Raises:
        ConfigError: If the frame shift is not above 0.
    """
    check_frame_shift(frame_shift)
    total = view.left + 1 + view.right
    before, after = (_frames(n) for n in (view.left, view.right))
    field = "the whole utterance"
    if math.isfinite(total):
        field = f"{total:.0f} frames, {total * frame_shift:g} ms"
    elif not math.isinf(view.right) or not math.isinf(view.left):
        field = "the whole utterance to one side"
    ahead = "the whole utterance"
    if math.isfinite(view.right):
        ahead = f"{view.right * frame_shift:g} ms"
    rate = 1000 / (frame_shift * view.stride)
    return (
        f"  receptive field: {field} ({before} before, {after} after)\n"
        f"  look-ahead: {ahead}\n"
        f"  frame rate: {rate:.4g} Hz (one frame out for {view.stride} in, which are "
        f"{frame_shift:g} ms apart)"
    )


def check_frame_shift(frame_shift: Any, where: str = "") -> None:
    """Refuse a frame shift that cannot be.

    Args:
        frame_shift: Milliseconds from one input frame to the next.
        where: Place of the option, for the message.

    Raises:
        ConfigError: If the frame shift is not above 0.
    """
    number = type(frame_shift) in (int, float)
    if not (number and 0 < frame_shift <= MAX_SIZE):
        raise ConfigError(
            f"{where}frame_shift is {quote(frame_shift)}; accepted are milliseconds, "
            f"above 0 and up to {MAX_SIZE}"
        )


def _frames(count: float) -> str:
    return "all" if math.isinf(count) else f"{count:.0f}"


@dataclass(frozen=True)
class _Part:
    """A part of the network.

    Args:
        view: The frames at its input that one output frame depends on.
        lengths: Output frames of input frames.
        note: Stores the views of its layers, given the view of its input.
    """

    view: View
    lengths: Lengths
    note: Callable[[View], None]


class _Views(Algebra[_Part]):
    """Computes the views of all layers and stores them in ``found``."""

    def __init__(
        self,
        layers: Sequence[Layer],
        found: dict[int, View],
        combine: Callable[[View, View], View] = View.beside,
    ) -> None:
        self.layers = layers
        self.found = found
        self.combine = combine

    def layer(self, index: int) -> _Part:
        operations = (op.view for op in self.layers[index].candidates)
        view = reduce(self.combine, operations)

        def note(before: View) -> None:
            self.found[index] = before.then(view)

        return _Part(view, self.layers[index].candidates[0].lengths, note)

    def chain(self, parts: Sequence[_Part]) -> _Part:
        def note(before: View) -> None:
            for part in parts:
                part.note(before)
                before = before.then(part.view)

        view = reduce(View.then, (part.view for part in parts))
        return _Part(view, reduce(Lengths.then, (p.lengths for p in parts)), note)

    def residual(self, body: _Part, shortcut: _Part) -> _Part:
        def note(before: View) -> None:
            body.note(before)
            shortcut.note(before)

        return _Part(body.view.beside(shortcut.view), body.lengths, note)

    def bidirectional(self, ahead: _Part, back: _Part) -> _Part:
        def note(before: View) -> None:
            ahead.note(before)
            back.note(View.of(before.right, before.left, before.stride))

        view = ahead.view.beside(_mirrored(back.view, back.lengths))
        return _Part(view, ahead.lengths, note)

    def cell(self, bodies: Sequence[_Part], skips: Sequence[Sequence[_Part]]) -> _Part:
        points = [View()]
        for body, own in zip(bodies, skips, strict=True):
            view = points[-1].then(body.view)
            for point, skip in zip(points, own, strict=True):
                view = view.beside(point.then(skip.view))
            points.append(view)

        def note(before: View) -> None:
            for number, (body, own) in enumerate(zip(bodies, skips, strict=True)):
                body.note(before.then(points[number]))
                for point, skip in zip(points, own, strict=False):
                    skip.note(before.then(point))

        lengths = reduce(Lengths.then, (body.lengths for body in bodies))
        return _Part(points[-1], lengths, note)


def _mirrored(view: View, lengths: Lengths) -> View:
    """Return the view of a branch over the reversed utterance.

    With a stride s, the position of its frames depends on the length of the utterance:
    the last of L' output frames of a branch over L frames lies at frame
    L - 1 - (L' - 1) s of the utterance. As L' = floor((L + o) / s), this is
    s - 1 - o + (L + o) mod s.
    """
    least = view.stride - 1 - lengths.offset
    most = least + view.stride - 1
    return View.of(view.right - least, view.left + most, view.stride)
