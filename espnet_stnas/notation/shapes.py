"""Sizes: the widths of all layers, and whether what is to be added fits. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.family import MAX_SIZE
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.notation.topology import Bidirectional, Layer, Node, Residual

# Lengths (frames) on which candidates of one choice must agree, besides those around
# their strides.
_PROBE_LENGTHS = range(1, 100)

LengthOf = Callable[[int], int]


@dataclass(frozen=True)
class LayerShape:
    """Sizes of one layer.

    Args:
        input_width: Dimensions of a frame that goes in.
        output_width: Dimensions of a frame that comes out.
        skip: Whether a skip goes around it.
        width: Output width of operations in this place that do not give their own.
    """

    input_width: int
    output_width: int
    skip: bool
    width: int


def layer_shapes(
    nodes: Sequence[Node],
    layers: Sequence[Layer],
    input_size: int,
    width: int,
    residual: bool,
) -> tuple[LayerShape, ...]:
    """The sizes of all layers.

    Args:
        nodes: How data flow through the layers.
        layers: The layers.
        input_size: Dimensions of an input frame.
        width: Output width of operations that do not give their own.
        residual: Whether skips go around all layers that keep width and length.

    Raises:
        ConfigError: If candidates of a choice, or branches of a block, do not fit
            together.
    """
    sizes = _Sizes(layers, residual)
    sizes.follow(nodes, input_size, width)
    return tuple(sizes.shapes[index] for index in range(len(layers)))


class _Sizes:
    """Follows widths and lengths through nodes."""

    def __init__(self, layers: Sequence[Layer], residual: bool) -> None:
        self.layers = layers
        self.residual = residual
        self.shapes: dict[int, LayerShape] = {}

    def follow(
        self, nodes: Sequence[Node], input_width: int, width: int
    ) -> tuple[int, LengthOf]:
        """The width that comes out of nodes, and the length of what comes out."""
        parts: list[LengthOf] = []
        for node in nodes:
            if isinstance(node, Residual):
                input_width, part = self._residual(node, input_width, width)
            elif isinstance(node, Bidirectional):
                input_width, part = self._bidirectional(node, input_width, width)
            else:
                input_width, part = self._layer(node, input_width, width)
            parts.append(part)

        def length(frames: int) -> int:
            for part in parts:
                frames = part(frames)
            return frames

        return input_width, length

    def _layer(self, index: int, input_width: int, width: int) -> tuple[int, LengthOf]:
        shape = _layer_shape(
            self.layers[index], index + 1, input_width, width, self.residual
        )
        self.shapes[index] = shape
        return shape.output_width, self.layers[index].candidates[0].output_length

    def _residual(
        self, node: Residual, input_width: int, width: int
    ) -> tuple[int, LengthOf]:
        body_width, body = self.follow(node.body, input_width, width)
        short_width, shortcut = self._layer(node.shortcut, input_width, width)
        place = f"encoder_conf: layer {node.shortcut + 1}, a shortcut,"
        if short_width != body_width:
            raise ConfigError(
                f"{place} turns width {input_width} into {short_width}, the body that "
                f"it is added to into {body_width}; they must give the same width"
            )
        _same_length(place, shortcut, "the body that it is added to", body)
        return body_width, body

    def _bidirectional(
        self, node: Bidirectional, input_width: int, width: int
    ) -> tuple[int, LengthOf]:
        if width % 2:
            raise ConfigError(
                f"encoder_conf: width is {width} around a bidirectional block; "
                "accepted is an even width, of which each of its branches has half"
            )
        ahead_width, ahead = self.follow(node.ahead, input_width, width // 2)
        back_width, back = self.follow(node.back, input_width, width // 2)
        first = _first_layer(node) + 1
        place = f"encoder_conf: layer {first}: the forward branch that begins there"
        _same_length(place, ahead, "the backward branch", back)
        return ahead_width + back_width, ahead


def _first_layer(node: Node) -> int:
    if isinstance(node, Residual):
        return _first_layer(node.body[0])
    if isinstance(node, Bidirectional):
        return _first_layer(node.ahead[0])
    return node


def _same_length(place: str, one: LengthOf, name: str, other: LengthOf) -> None:
    for frames in _PROBE_LENGTHS:
        if one(frames) != other(frames):
            raise ConfigError(
                f"{place} makes {one(frames)} of {frames} frames, {name} "
                f"{other(frames)}; they must give the same length"
            )


def _layer_shape(
    layer: Layer, number: int, input_width: int, width: int, residual: bool
) -> LayerShape:
    where = f"encoder_conf: layer {number}"
    widths = {op: op.output_width(input_width, width) for op in layer.candidates}
    first = layer.candidates[0]
    for op in layer.candidates:
        if widths[op] != widths[first]:
            raise ConfigError(
                f"{where}: candidate '{op}' turns width {input_width} into "
                f"{widths[op]}, candidate '{first}' into {widths[first]}; all "
                "candidates of a choice must give the same width"
            )
        differing = _differing_length(first, op)
        if differing is not None:
            raise ConfigError(
                f"{where}: of {differing} frames, candidate '{op}' makes "
                f"{op.output_length(differing)} and candidate '{first}' "
                f"{first.output_length(differing)}; all candidates of a choice must "
                "give the same length (use a stride in a fixed layer)"
            )
    if widths[first] > MAX_SIZE:
        raise ConfigError(
            f"{where}: '{first}' turns width {input_width} into {widths[first]}; "
            f"accepted are at most {MAX_SIZE}"
        )
    keeps_length = all(first.output_length(n) == n for n in _PROBE_LENGTHS)
    skip = residual and keeps_length and widths[first] == input_width
    return LayerShape(input_width, widths[first], skip, width)


def _differing_length(one: OpSpec, other: OpSpec) -> Optional[int]:
    lengths = (*_PROBE_LENGTHS, one.stride + 1, other.stride + 1)
    return next(
        (n for n in lengths if one.output_length(n) != other.output_length(n)),
        None,
    )
