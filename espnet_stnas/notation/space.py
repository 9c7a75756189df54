"""Search spaces and architectures in one notation. No torch.

A search space is a chain of layers and blocks of layers. A layer with several candidate
operations is a choice; a layer with one is fixed. An architecture is a search space in
which every layer is fixed, so both are a :class:`SearchSpace`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import format_keys, quote
from espnet_stnas.notation.family import MAX_SIZE
from espnet_stnas.notation.parse import parse_nodes
from espnet_stnas.notation.shapes import LayerShape, Shapes, space_shapes
from espnet_stnas.notation.topology import Layer, Node, layer_name, nodes_to_conf

__all__ = ["Layer", "LayerShape", "SearchSpace"]

_KEYS = ("layers", "width", "dropout_rate", "residual", "sharing")
_SHARING = ("kernel", "none")


@dataclass(frozen=True)
class SearchSpace:
    """The layers, their wiring, and the settings that they share.

    Args:
        layers: All layers from input to output, including the layers of blocks.
        width: Output width of operations that do not give their own.
        dropout_rate: Dropout after each operation that has dropout.
        residual: Add a skip connection to every layer that keeps width and length:
            y = x + layer(x).
        blocks: The topology; None for a chain.
        sharing: ``kernel``: candidates of one family share their weights in the
            supernet. ``none``: each candidate has its own, as in the paper.

    >>> space = SearchSpace.from_conf(
    ...     {"layers": [["tdnn-C1D1", "tdnn-C1D2"], "tdnn-C1S3D1"], "width": 64}
    ... )
    >>> [[str(op) for op in choice.candidates] for choice in space.choices]
    [['tdnn-C1D1', 'tdnn-C1D2']]
    >>> space.resolve([1]).to_conf()["layers"]
    ['tdnn-C1D2', 'tdnn-C1S3D1']
    """

    layers: tuple[Layer, ...]
    width: int = 640
    dropout_rate: float = 0.5
    residual: bool = False
    blocks: Optional[tuple[Node, ...]] = None
    sharing: str = "none"

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any]) -> SearchSpace:
        """Read an ``encoder_conf``.

        Raises:
            ConfigError: If a key, an operation, an option or a size is wrong.

        >>> SearchSpace.from_conf({"layers": ["tdn-C1D1"]})
        Traceback (most recent call last):
        espnet_stnas.errors.ConfigError: ... unknown operation 'tdn' (did you mean ...
        """
        if not isinstance(conf, Mapping):
            raise ConfigError(
                f"encoder_conf is {quote(conf)}; accepted is a mapping of "
                f"{', '.join(_KEYS)}"
            )
        unknown = [key for key in conf if key not in _KEYS]
        if unknown:
            raise ConfigError(
                f"encoder_conf: unknown key {quote(unknown[0])}; "
                f"accepted are: {', '.join(_KEYS)}"
            )
        if conf.get("layers") is None:
            raise ConfigError(
                "encoder_conf: the key 'layers' is missing "
                f"(found {format_keys(conf)}); it takes a list of operations and "
                "choices, such as [[tdnn-C1D1, tdnn-C1D2], tdnn-C1S3D1]"
            )
        nodes, layers = parse_nodes(conf["layers"], "layers")
        space = cls(
            layers=layers,
            width=conf.get("width", cls.width),
            dropout_rate=conf.get("dropout_rate", cls.dropout_rate),
            residual=conf.get("residual", cls.residual),
            blocks=None if nodes == tuple(range(len(layers))) else nodes,
            sharing=conf.get("sharing", cls.sharing),
        )
        space._check_settings()
        # 0 and 0.0 are one rate, and equal spaces have equal digests.
        return replace(space, dropout_rate=abs(float(space.dropout_rate)))

    def _check_settings(self) -> None:
        if type(self.width) is not int or not 1 <= self.width <= MAX_SIZE:
            raise ConfigError(
                f"encoder_conf: width is {quote(self.width)}; "
                f"accepted is an integer from 1 to {MAX_SIZE}"
            )
        rate = self.dropout_rate
        if type(rate) not in (int, float) or not 0 <= rate < 1:
            raise ConfigError(
                f"encoder_conf: dropout_rate is {quote(rate)}; "
                "accepted is a number from 0 up to, but not including, 1"
            )
        if type(self.residual) is not bool:
            raise ConfigError(
                f"encoder_conf: residual is {quote(self.residual)}; "
                "accepted is true or false"
            )
        if self.sharing not in _SHARING:
            raise ConfigError(
                f"encoder_conf: sharing is {quote(self.sharing)}; accepted are: "
                f"{', '.join(_SHARING)}"
            )
        if self.sharing != "none" and self.is_architecture:
            raise ConfigError(
                f"encoder_conf: sharing is {quote(self.sharing)}, but no layer is a "
                "choice; accepted is none, or no such key"
            )

    def to_conf(self) -> dict[str, Any]:
        """Return the canonical ``encoder_conf``, made of plain containers."""
        sharing = {} if self.is_architecture else {"sharing": self.sharing}
        return {
            "width": self.width,
            "dropout_rate": self.dropout_rate,
            "residual": self.residual,
            **sharing,
            "layers": nodes_to_conf(self.nodes, self.layers),
        }

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The topology: how data flow through the layers."""
        return tuple(range(len(self.layers))) if self.blocks is None else self.blocks

    @cached_property
    def choice_numbers(self) -> tuple[Optional[int], ...]:
        """For each layer, the number of its choice (from 0); None if it is fixed."""
        numbers: list[Optional[int]] = []
        groups: dict[str, int] = {}
        count = 0
        for layer in self.layers:
            number: Optional[int] = None
            if layer.is_choice:
                number = (
                    count if layer.group is None else groups.get(layer.group, count)
                )
                count = max(count, number + 1)
                if layer.group is not None:
                    groups[layer.group] = number
            numbers.append(number)
        return tuple(numbers)

    @cached_property
    def first_layers(self) -> tuple[int, ...]:
        """For each choice, the index of its first layer."""
        numbers = self.choice_numbers
        count = 1 + max((n for n in numbers if n is not None), default=-1)
        return tuple(numbers.index(choice) for choice in range(count))

    @cached_property
    def choices(self) -> tuple[Layer, ...]:
        """The choices of the space; layers that share a choice count once."""
        return tuple(self.layers[index] for index in self.first_layers)

    @property
    def is_architecture(self) -> bool:
        """Whether every layer is fixed."""
        return not self.choices

    @property
    def num_architectures(self) -> int:
        """The number of architectures in the space."""
        return math.prod(len(choice.candidates) for choice in self.choices)

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that identify the space."""
        text = json.dumps(self.to_conf(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def resolve(self, indices: Sequence[int]) -> SearchSpace:
        """Return the architecture that has one given candidate for each choice.

        Args:
            indices: One candidate index per choice, in order.

        Raises:
            ValueError: If there are more or fewer indices than choices.
        """
        if len(indices) != len(self.choices):
            raise ValueError(f"{len(indices)} indices for {len(self.choices)} choices")
        return replace(
            self,
            layers=tuple(
                layer
                if number is None
                else Layer((layer.candidates[indices[number]],), place=layer.place)
                for layer, number in zip(self.layers, self.choice_numbers, strict=True)
            ),
            sharing="none",
        )

    def index(self, architecture: SearchSpace) -> tuple[int, ...]:
        """Return the candidate indices of an architecture of this space.

        Raises:
            ConfigError: If the architecture does not belong to this space.
        """
        if architecture.blocks != self.blocks:
            raise ConfigError(
                "the architecture has other blocks than the search space, or its "
                "layers in other places"
            )
        settings = replace(self, layers=(), sharing=architecture.sharing)
        if replace(architecture, layers=()) != settings:
            raise ConfigError(
                "the architecture has other settings than the search space: "
                f"{_settings(architecture)} instead of {_settings(self)}"
            )
        if len(architecture.layers) != len(self.layers):
            raise ConfigError(
                f"the architecture has {len(architecture.layers)} layers, "
                f"the search space {len(self.layers)}"
            )
        indices: dict[int, int] = {}
        choices = self.choice_numbers
        for place, (own, other, choice) in enumerate(
            zip(self.layers, architecture.layers, choices, strict=True)
        ):
            op = other.candidates[0]
            if other.is_choice or op not in own.candidates:
                raise ConfigError(
                    f"{self.layer_name(place)} of the architecture is "
                    f"{' | '.join(map(str, other.candidates))}; the search space "
                    f"accepts {', '.join(map(str, own.candidates))}"
                )
            if choice is None:
                continue
            index = own.candidates.index(op)
            if indices.setdefault(choice, index) != index:
                raise ConfigError(
                    f"{self.layer_name(place)} of the architecture is {op}; in the "
                    f"search space it shares the choice '{own.group}' with a layer "
                    f"that is {own.candidates[indices[choice]]}"
                )
        return tuple(indices[choice] for choice in range(len(indices)))

    def layer_name(self, index: int) -> str:
        """Return the name of a layer in messages: its number from 1, and its place."""
        return layer_name(self.layers, index)

    def shapes(self, input_size: int) -> tuple[LayerShape, ...]:
        """Return the sizes of all layers for input frames of ``input_size`` dimensions.

        Raises:
            ConfigError: If the candidates of a choice, or the branches of a block, do
                not fit together.
        """
        return self.sizes(input_size).layers

    def output_width(self, input_size: int) -> int:
        """Return the dimensions of an output frame of the whole network.

        Raises:
            ConfigError: If the candidates of a choice, or the branches of a block, do
                not fit together.
        """
        return self.sizes(input_size).output_width

    def sizes(self, input_size: int) -> Shapes:
        """Return the sizes of all layers and of the whole network.

        Raises:
            ConfigError: If the input size is wrong, or sizes do not fit together.
        """
        if type(input_size) is not int or not 1 <= input_size <= MAX_SIZE:
            raise ConfigError(
                f"input_size is {quote(input_size)}; accepted is an integer from 1 to "
                f"{MAX_SIZE}"
            )
        return space_shapes(
            self.nodes, self.layers, input_size, self.width, self.residual
        )


def _settings(space: SearchSpace) -> str:
    conf = space.to_conf()
    return ", ".join(f"{k}={v}" for k, v in conf.items() if k != "layers")
