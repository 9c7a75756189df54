"""How much of an utterance each output frame of an architecture sees. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.family import MAX_SIZE
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.spec import ChainSpec, OpSpec
from espnet_stnas.notation.topology import Bidirectional, Layer, Node, Residual

# Of most features in ESPnet's recipes, in milliseconds.
FRAME_SHIFT = 10.0


@dataclass(frozen=True)
class View:
    """Which input frames an output frame depends on.

    Output frame n sees the frames from ``n * stride - left`` to ``n * stride + right``.

    Args:
        left: Input frames before; infinite if all that there are.
        right: Input frames after; infinite if all that there are.
        stride: Input frames per output frame.
    """

    left: float = 0
    right: float = 0
    stride: int = 1

    def then(self, other: View) -> View:
        """The view of something on top of this."""
        return View(
            self.left + self.stride * other.left,
            self.right + self.stride * other.right,
            self.stride * other.stride,
        )

    def beside(self, other: View) -> View:
        """The view of two of the same stride together."""
        left, right = max(self.left, other.left), max(self.right, other.right)
        return View(left, right, self.stride)


def view_of(architecture: SearchSpace) -> View:
    """The view of an architecture; of a search space, the widest possible."""
    return _follow(architecture.nodes, architecture.layers)[0]


def layer_views(space: SearchSpace) -> tuple[View, ...]:
    """For each layer, which input frames a frame that comes out of it depends on.

    In a branch over the reversed utterance, before and after are those of the branch.

    Args:
        space: An architecture; of a search space, the widest possible views.
    """
    found: dict[int, View] = {}
    _note(space.nodes, space.layers, View(), found)
    return tuple(found[index] for index in range(len(space.layers)))


def _note(
    nodes: Sequence[Node], layers: Sequence[Layer], before: View, found: dict[int, View]
) -> None:
    """Note the views of all layers of some nodes, with what is seen before them."""
    for node in nodes:
        if isinstance(node, Residual):
            _note(node.body, layers, before, found)
            _note((node.shortcut,), layers, before, found)
        elif isinstance(node, Bidirectional):
            _note(node.ahead, layers, before, found)
            other = View(before.right, before.left, before.stride)
            _note(node.back, layers, other, found)
        else:
            found[node] = before.then(_view_of_layer(layers[node]))
        before = before.then(_follow((node,), layers)[0])


def describe_view(view: View, frame_shift: float = FRAME_SHIFT) -> str:
    """Receptive field, look-ahead and frame rate, in words.

    Args:
        view: What an output frame sees.
        frame_shift: Milliseconds from an input frame to the next.

    Raises:
        ConfigError: If the frame shift is not above 0.
    """
    if not (math.isfinite(frame_shift) and frame_shift > 0):
        raise ConfigError(
            f"frame_shift is {frame_shift}; accepted are milliseconds, above 0"
        )
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


def _frames(count: float) -> str:
    return "all" if math.isinf(count) else f"{count:.0f}"


Lengths = Callable[[int], int]


def _follow(nodes: Sequence[Node], layers: Sequence[Layer]) -> tuple[View, Lengths]:
    """The view through some nodes, and how many frames come out of so many."""
    view = View()
    parts: list[Lengths] = []
    for node in nodes:
        if isinstance(node, Residual):
            body, length = _follow(node.body, layers)
            step = body.beside(_view_of_layer(layers[node.shortcut]))
        elif isinstance(node, Bidirectional):
            step, length = _follow(node.ahead, layers)
            step = step.beside(_mirrored(*_follow(node.back, layers)))
        else:
            step = _view_of_layer(layers[node])
            length = layers[node].candidates[0].output_length
        view = view.then(step)
        parts.append(length)

    def lengths(frames: int) -> int:
        for part in parts:
            frames = part(frames)
        return frames

    return view, lengths


def _mirrored(view: View, length: Lengths) -> View:
    """The view of a branch over the reversed utterance.

    With a stride, where its frames lie depends on how many frames there are: the last
    output frame of the branch over L frames is over the frame L - 1 - (L' - 1) * stride
    of the utterance.
    """
    shortest = next(n for n in range(1, MAX_SIZE) if length(n) > 0)
    shifts = [
        n - 1 - (length(n) - 1) * view.stride
        for n in range(shortest, shortest + view.stride)
    ]
    return View(view.right - min(shifts), view.left + max(shifts), view.stride)


def _view_of_layer(layer: Layer) -> View:
    first, *others = (_view_of_operation(op) for op in layer.candidates)
    for other in others:
        first = first.beside(other)
    return first


def _view_of_operation(op: OpSpec) -> View:
    if isinstance(op, ChainSpec):
        view = View()
        for part in op.parts:
            view = view.then(_view_of_operation(part))
        return view
    return View(*op.reach, op.stride)
