"""Search spaces and architectures: one notation, without torch.

A search space is a chain of layers. A layer with several candidate operations is
a choice, a layer with one is fixed. An architecture is a search space in which
every layer is fixed, so both are a :class:`SearchSpace`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from espnet_stnas.messages import format_keys, shown
from espnet_stnas.spec import LARGEST, ConfigError, OpSpec, parse_op

# Lengths (frames) on which candidates of one choice must agree, besides those around
# their strides.
_PROBE_LENGTHS = range(1, 100)
# More of either is a slip of the pen, or a YAML file that refers to itself.
_MOST_LAYERS = 1000
_MOST_OPERATIONS = 5000
_DEEPEST_REPEAT = 10
_KEYS = ("layers", "width", "dropout_rate", "residual")


@dataclass(frozen=True)
class Layer:
    """One position of the chain: its candidate operations, one if it is fixed."""

    candidates: tuple[OpSpec, ...]

    @property
    def is_choice(self) -> bool:
        """Whether the search decides this layer."""
        return len(self.candidates) > 1


@dataclass(frozen=True)
class LayerShape:
    """Sizes of one layer: its widths and whether a skip goes around it."""

    input_width: int
    output_width: int
    skip: bool


@dataclass(frozen=True)
class SearchSpace:
    """A chain of layers with the settings they share.

    Args:
        layers: The layers, from input to output.
        width: Output width of operations that do not give their own.
        dropout_rate: Dropout after each operation that has dropout.
        residual: Put a skip connection around every layer that keeps width and
            length: y = x + layer(x).
    """

    layers: tuple[Layer, ...]
    width: int = 640
    dropout_rate: float = 0.5
    residual: bool = False

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any]) -> SearchSpace:
        """Read an ``encoder_conf``.

        Raises:
            ConfigError: If a key, an operation, an option or a size is wrong, or if
                the candidates of a choice do not fit together.
        """
        if not isinstance(conf, Mapping):
            raise ConfigError(
                f"encoder_conf is {shown(conf)}; accepted is a mapping of "
                f"{', '.join(_KEYS)}"
            )
        unknown = [key for key in conf if key not in _KEYS]
        if unknown:
            raise ConfigError(
                f"encoder_conf: unknown key {shown(unknown[0])}; "
                f"accepted are: {', '.join(_KEYS)}"
            )
        if conf.get("layers") is None:
            raise ConfigError(
                "encoder_conf: the key 'layers' is missing "
                f"(found {format_keys(conf)}); it takes a list of operations and "
                "choices, such as [[tdnn-C1D1, tdnn-C1D2], tdnn-C1S3D1]"
            )
        space = cls(
            layers=tuple(_parse_layers(conf["layers"], "encoder_conf: layers")),
            width=conf.get("width", cls.width),
            dropout_rate=conf.get("dropout_rate", cls.dropout_rate),
            residual=conf.get("residual", cls.residual),
        )
        space._check_settings()
        return space

    def _check_settings(self) -> None:
        if type(self.width) is not int or not 1 <= self.width <= LARGEST:
            raise ConfigError(
                f"encoder_conf: width is {shown(self.width)}; "
                f"accepted is an integer from 1 to {LARGEST}"
            )
        rate = self.dropout_rate
        if type(rate) not in (int, float) or not 0 <= rate < 1:
            raise ConfigError(
                f"encoder_conf: dropout_rate is {shown(rate)}; "
                "accepted is a number from 0 up to, but not including, 1"
            )
        if type(self.residual) is not bool:
            raise ConfigError(
                f"encoder_conf: residual is {shown(self.residual)}; "
                "accepted is true or false"
            )

    def to_conf(self) -> dict[str, Any]:
        """The canonical ``encoder_conf``: plain containers only."""
        return {
            "width": self.width,
            "dropout_rate": self.dropout_rate,
            "residual": self.residual,
            "layers": [
                [str(op) for op in layer.candidates]
                if layer.is_choice
                else str(layer.candidates[0])
                for layer in self.layers
            ],
        }

    @property
    def choices(self) -> tuple[Layer, ...]:
        """The layers that the search decides."""
        return tuple(layer for layer in self.layers if layer.is_choice)

    @property
    def is_architecture(self) -> bool:
        """Whether every layer is fixed."""
        return not self.choices

    @property
    def num_architectures(self) -> int:
        """How many architectures the space holds."""
        return math.prod(len(layer.candidates) for layer in self.layers)

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that identify the space."""
        text = json.dumps(self.to_conf(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def resolve(self, indices: Sequence[int]) -> SearchSpace:
        """The architecture with one candidate per choice.

        Args:
            indices: One candidate index per choice, in order.

        Raises:
            ValueError: If their number is not that of the choices.
        """
        chosen = iter(indices)
        if len(indices) != len(self.choices):
            raise ValueError(f"{len(indices)} indices for {len(self.choices)} choices")
        return replace(
            self,
            layers=tuple(
                Layer((layer.candidates[next(chosen)],)) if layer.is_choice else layer
                for layer in self.layers
            ),
        )

    def index(self, architecture: SearchSpace) -> tuple[int, ...]:
        """The candidate indices of an architecture of this space.

        Raises:
            ConfigError: If it is not one of this space.
        """
        if replace(architecture, layers=()) != replace(self, layers=()):
            raise ConfigError(
                "the architecture has other settings than the search space: "
                f"{_settings(architecture)} instead of {_settings(self)}"
            )
        if len(architecture.layers) != len(self.layers):
            raise ConfigError(
                f"the architecture has {len(architecture.layers)} layers, "
                f"the search space {len(self.layers)}"
            )
        indices = []
        for number, (own, other) in enumerate(
            zip(self.layers, architecture.layers, strict=True), start=1
        ):
            op = other.candidates[0]
            if other.is_choice or op not in own.candidates:
                raise ConfigError(
                    f"layer {number} of the architecture is "
                    f"{' | '.join(map(str, other.candidates))}; the search space "
                    f"accepts {', '.join(map(str, own.candidates))}"
                )
            if own.is_choice:
                indices.append(own.candidates.index(op))
        return tuple(indices)

    def shapes(self, input_size: int) -> tuple[LayerShape, ...]:
        """The sizes of all layers for an input of ``input_size`` dimensions.

        Raises:
            ConfigError: If the candidates of a choice differ in width or length, or
                an operation that keeps its width is asked to change it.
        """
        if type(input_size) is not int or not 1 <= input_size <= LARGEST:
            raise ConfigError(
                f"input_size is {shown(input_size)}; accepted is an integer from 1 to "
                f"{LARGEST}"
            )
        shapes = []
        for number, layer in enumerate(self.layers, start=1):
            shape = _layer_shape(layer, number, input_size, self.width, self.residual)
            shapes.append(shape)
            input_size = shape.output_width
        return tuple(shapes)


def _settings(space: SearchSpace) -> str:
    conf = space.to_conf()
    return ", ".join(f"{k}={v}" for k, v in conf.items() if k != "layers")


def _parse_layers(value: Any, where: str, depth: int = 0) -> list[Layer]:
    if not isinstance(value, (list, tuple)) or len(value) == 0:
        raise ConfigError(
            f"{where} is {shown(value)}; accepted is a list of at least one layer"
        )
    layers: list[Layer] = []
    for number, item in enumerate(value, start=1):
        place = f"{where}[{number}]"
        if isinstance(item, Mapping) and "repeat" in item:
            layers.extend(_parse_repeat(item, place, depth))
        else:
            layers.append(_parse_layer(item, place))
        if len(layers) > _MOST_LAYERS:
            raise ConfigError(f"{place}: accepted are at most {_MOST_LAYERS} layers")
        if sum(len(layer.candidates) for layer in layers) > _MOST_OPERATIONS:
            raise ConfigError(
                f"{place}: accepted are at most {_MOST_OPERATIONS} operations in all "
                "layers"
            )
    return layers


def _parse_repeat(item: Mapping[str, Any], where: str, depth: int) -> list[Layer]:
    if set(item) != {"repeat", "layers"}:
        raise ConfigError(
            f"{where}: found the keys {format_keys(item)}; a repetition has "
            "exactly the keys 'repeat' and 'layers'"
        )
    times = item["repeat"]
    if type(times) is not int or not 1 <= times <= _MOST_LAYERS:
        raise ConfigError(
            f"{where}: repeat is {shown(times)}; accepted is an integer from 1 to "
            f"{_MOST_LAYERS}"
        )
    if depth == _DEEPEST_REPEAT:
        raise ConfigError(
            f"{where}: accepted are at most {_DEEPEST_REPEAT} repetitions inside each "
            "other"
        )
    return _parse_layers(item["layers"], f"{where}: layers", depth + 1) * times


def _parse_layer(item: Any, where: str) -> Layer:
    if not isinstance(item, (list, tuple)):
        return Layer((parse_op(item, where),))
    if len(item) == 0:
        raise ConfigError(f"{where}: a choice needs at least one candidate operation")
    candidates = tuple(
        parse_op(op, f"{where}[{n}]") for n, op in enumerate(item, start=1)
    )
    for op, count in Counter(candidates).items():
        if count > 1:
            raise ConfigError(
                f"{where}: the candidate operation '{op}' stands {count} times in one "
                "choice; once is accepted"
            )
    return Layer(candidates)


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
    if widths[first] > LARGEST:
        raise ConfigError(
            f"{where}: '{first}' turns width {input_width} into {widths[first]}; "
            f"accepted are at most {LARGEST}"
        )
    keeps_length = all(first.output_length(n) == n for n in _PROBE_LENGTHS)
    skip = residual and keeps_length and widths[first] == input_width
    return LayerShape(input_width, widths[first], skip)


def _differing_length(one: OpSpec, other: OpSpec) -> Optional[int]:
    lengths = (*_PROBE_LENGTHS, one.stride + 1, other.stride + 1)
    return next(
        (n for n in lengths if one.output_length(n) != other.output_length(n)),
        None,
    )
