"""Computes the width of every layer and checks that parts fit together. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.family import MAX_SIZE
from espnet_stnas.notation.lengths import Lengths
from espnet_stnas.notation.spec import ChainSpec, OpSpec
from espnet_stnas.notation.topology import Algebra, Layer, Node, fold, layer_name


@dataclass(frozen=True)
class LayerShape:
    """The sizes of one layer.

    Args:
        input_width: Dimensions of an input frame.
        output_width: Dimensions of an output frame.
        skip: Whether the layer has a skip connection around it.
        width: Default output width of the operations at this place.
    """

    input_width: int
    output_width: int
    skip: bool
    width: int


@dataclass(frozen=True)
class Shapes:
    """The sizes of a network.

    Args:
        layers: The sizes of its layers.
        output_width: Dimensions of an output frame of the network.
        zero: Index of a fixed layer that cuts the output off from the input, if any.
    """

    layers: tuple[LayerShape, ...]
    output_width: int
    zero: Optional[int]


def space_shapes(
    nodes: Sequence[Node],
    layers: Sequence[Layer],
    input_size: int,
    width: int,
    residual: bool,
) -> Shapes:
    """Compute the sizes of all layers and the output width.

    Args:
        nodes: The topology.
        layers: The layers.
        input_size: Dimensions of an input frame.
        width: Default output width of operations.
        residual: Whether every layer that keeps width and length has a skip.

    Raises:
        ConfigError: If the candidates of a choice, or the branches of a block, do not
            fit together.
    """
    sizes = _Sizes(layers, residual)
    whole = fold(nodes, sizes).measure(input_size, width)
    found = tuple(sizes.shapes[index] for index in range(len(layers)))
    return Shapes(found, whole.width, whole.zero)


@dataclass(frozen=True)
class _Size:
    """The sizes of a part of the network.

    Args:
        width: Dimensions of an output frame.
        lengths: Output frames of input frames.
        zero: Index of a fixed layer that cuts the output off from the input, if any.
    """

    width: int
    lengths: Lengths
    zero: Optional[int]


@dataclass(frozen=True)
class _Part:
    """A part of the network whose sizes are computed later.

    Args:
        first: Index of its first layer.
        measure: ``(input width, default width) -> sizes``.
    """

    first: int
    measure: Callable[[int, int], _Size]


class _Sizes(Algebra[_Part]):
    """Follows widths and lengths through the network and stores each layer's shape."""

    def __init__(self, layers: Sequence[Layer], residual: bool) -> None:
        self.layers = layers
        self.keep_skips = residual
        self.shapes: dict[int, LayerShape] = {}

    def _name(self, index: int) -> str:
        return f"encoder_conf: {layer_name(self.layers, index)}"

    def layer(self, index: int) -> _Part:
        layer = self.layers[index]

        def measure(input_width: int, width: int) -> _Size:
            shape = _layer_shape(
                layer, self._name(index), input_width, width, self.keep_skips
            )
            self.shapes[index] = shape
            lost = not shape.skip and all(map(_is_zero, layer.candidates))
            return _Size(
                shape.output_width,
                layer.candidates[0].lengths,
                index if lost else None,
            )

        return _Part(index, measure)

    def chain(self, parts: Sequence[_Part]) -> _Part:
        def measure(input_width: int, width: int) -> _Size:
            size = _Size(input_width, Lengths(), None)
            for part in parts:
                size = _after(size, part, width)
            return size

        return _Part(parts[0].first, measure)

    def residual(self, body: _Part, shortcut: _Part) -> _Part:
        def measure(input_width: int, width: int) -> _Size:
            main = body.measure(input_width, width)
            short = shortcut.measure(input_width, width)
            place = f"{self._name(shortcut.first)}, a shortcut,"
            if short.width != main.width:
                raise ConfigError(
                    f"{place} turns width {input_width} into {short.width}, the body "
                    f"that it is added to into {main.width}; they must give the same "
                    "width"
                )
            other = "the body that it is added to"
            _same_length(place, short.lengths, other, main.lengths)
            zero = None if short.zero is None else main.zero
            return _Size(main.width, main.lengths, zero)

        return _Part(body.first, measure)

    def bidirectional(self, ahead: _Part, back: _Part) -> _Part:
        def measure(input_width: int, width: int) -> _Size:
            if width % 2:
                raise ConfigError(
                    f"encoder_conf: width is {width} around a bidirectional block; "
                    "accepted is an even width, of which each of its branches has half"
                )
            one = ahead.measure(input_width, width // 2)
            other = back.measure(input_width, width // 2)
            place = f"{self._name(ahead.first)}: the forward branch that begins there"
            _same_length(place, one.lengths, "the backward branch", other.lengths)
            zero = None if other.zero is None else one.zero
            return _Size(one.width + other.width, one.lengths, zero)

        return _Part(ahead.first, measure)

    def cell(self, bodies: Sequence[_Part], skips: Sequence[Sequence[_Part]]) -> _Part:
        def measure(input_width: int, width: int) -> _Size:
            points = [_Size(input_width, Lengths(), None)]
            for body, own in zip(bodies, skips, strict=True):
                main = _after(points[-1], body, width)
                zeros = [main.zero]
                for number, (point, skip) in enumerate(zip(points, own, strict=True)):
                    short = _after(point, skip, width)
                    place = f"{self._name(skip.first)}, a skip from node {number},"
                    if short.width != main.width:
                        raise ConfigError(
                            f"{place} has width {short.width}, the node that it is "
                            f"added to {main.width}; they must give the same width"
                        )
                    other = "the node that it is added to"
                    _same_length(place, short.lengths, other, main.lengths)
                    zeros.append(short.zero)
                zero = None if None in zeros else zeros[0]
                points.append(_Size(main.width, main.lengths, zero))
            return points[-1]

        return _Part(bodies[0].first, measure)


def _after(point: _Size, part: _Part, width: int) -> _Size:
    """Return the sizes behind a part that begins at a point."""
    own = part.measure(point.width, width)
    zero = own.zero if point.zero is None else point.zero
    return _Size(own.width, point.lengths.then(own.lengths), zero)


def _is_zero(op: OpSpec) -> bool:
    return op.op == "zero" or (
        isinstance(op, ChainSpec) and any(map(_is_zero, op.parts))
    )


def _same_length(place: str, one: Lengths, name: str, other: Lengths) -> None:
    frames = one.difference(other)
    if frames is not None:
        raise ConfigError(
            f"{place} makes {max(0, one(frames))} of {frames} frames, {name} "
            f"{max(0, other(frames))}; they must give the same length"
        )


def _layer_shape(
    layer: Layer, where: str, input_width: int, width: int, residual: bool
) -> LayerShape:
    widths = {op: op.output_width(input_width, width) for op in layer.candidates}
    first = layer.candidates[0]
    for op in layer.candidates:
        if widths[op] != widths[first]:
            raise ConfigError(
                f"{where}: candidate '{op}' turns width {input_width} into "
                f"{widths[op]}, candidate '{first}' into {widths[first]}; all "
                "candidates of a choice must give the same width"
            )
        frames = first.lengths.difference(op.lengths)
        if frames is not None:
            raise ConfigError(
                f"{where}: of {frames} frames, candidate '{op}' makes "
                f"{max(0, op.output_length(frames))} and candidate '{first}' "
                f"{max(0, first.output_length(frames))}; all candidates of a choice "
                "must give the same length (use a stride in a fixed layer)"
            )
    if widths[first] > MAX_SIZE:
        raise ConfigError(
            f"{where}: '{first}' turns width {input_width} into {widths[first]}; "
            f"accepted are at most {MAX_SIZE}"
        )
    keeps_length = first.lengths == Lengths()
    skip = residual and keeps_length and widths[first] == input_width
    return LayerShape(input_width, widths[first], skip, width)
