"""Reads the notation of layers and blocks into a topology. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import format_keys, quote
from espnet_stnas.notation.spec import OpSpec, parse_op
from espnet_stnas.notation.topology import (
    Bidirectional,
    Cell,
    Layer,
    Node,
    Residual,
)

# More of either is a typing error, or a YAML file that refers to itself.
MOST_LAYERS = 1000
_MOST_OPERATIONS = 5000
_DEEPEST = 10
# Every error message begins with this.
PREFIX = "encoder_conf: "


def parse_nodes(value: Any, name: str) -> tuple[tuple[Node, ...], tuple[Layer, ...]]:
    """Read the notation of a list of layers and blocks.

    Args:
        value: The list.
        name: Its key in the ``encoder_conf``, named in errors.

    Returns:
        The nodes, and the layers that they refer to.

    Raises:
        ConfigError: If something in the list is wrong.
    """
    parser = _Parser()
    return parser.nodes(value, PREFIX + name, 0), tuple(parser.layers)


class _Parser:
    """Collects the layers while it reads the nodes."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self._operations = 0
        self._groups: dict[str, tuple[OpSpec, ...]] = {}
        self._blocks: dict[str, Callable[[Any, str, int], tuple[Node, ...]]] = {
            "repeat": self._repeat,
            "residual": self._residual,
            "bidirectional": self._bidirectional,
            "cell": self._cell,
        }

    def nodes(self, value: Any, where: str, depth: int) -> tuple[Node, ...]:
        if not isinstance(value, (list, tuple)) or len(value) == 0:
            raise ConfigError(
                f"{where} is {quote(value)}; accepted is a list of at least one layer"
            )
        nodes: list[Node] = []
        for number, item in enumerate(value, start=1):
            nodes.extend(self._item(item, f"{where}[{number}]", depth))
        return tuple(nodes)

    def _item(self, item: Any, where: str, depth: int) -> tuple[Node, ...]:
        if isinstance(item, Mapping):
            for key, parse in self._blocks.items():
                if key in item:
                    if depth == _DEEPEST:
                        raise ConfigError(
                            f"{where}: accepted are at most {_DEEPEST} repetitions and "
                            "blocks inside each other"
                        )
                    return parse(item, where, depth + 1)
        return (self._layer(item, where),)

    def _repeat(
        self, item: Mapping[str, Any], where: str, depth: int
    ) -> tuple[Node, ...]:
        if set(item) != {"repeat", "layers"}:
            raise ConfigError(
                f"{where}: found the keys {format_keys(item)}; a repetition has "
                "exactly the keys 'repeat' and 'layers'"
            )
        times = item["repeat"]
        if type(times) is not int or not 1 <= times <= MOST_LAYERS:
            raise ConfigError(
                f"{where}: repeat is {quote(times)}; accepted is an integer from 1 to "
                f"{MOST_LAYERS}"
            )
        nodes: list[Node] = []
        for turn in range(1, times + 1):
            place = (
                f"{where}: repetition {turn}: layers"
                if turn > 1
                else f"{where}: layers"
            )
            nodes.extend(self.nodes(item["layers"], place, depth))
        return tuple(nodes)

    def _residual(
        self, item: Mapping[str, Any], where: str, depth: int
    ) -> tuple[Node, ...]:
        block = _block(item, where, "residual", ("body",), ("shortcut",))
        where = f"{where}: residual"
        body = self.nodes(block["body"], f"{where}: body", depth)
        shortcut = self._layer(block.get("shortcut", "identity"), f"{where}: shortcut")
        return (Residual(body, shortcut),)

    def _bidirectional(
        self, item: Mapping[str, Any], where: str, depth: int
    ) -> tuple[Node, ...]:
        block = _block(item, where, "bidirectional", ("forward",), ("backward",))
        where = f"{where}: bidirectional"
        ahead = self.nodes(block["forward"], f"{where}: forward", depth)
        again = block.get("backward", block["forward"])
        return (Bidirectional(ahead, self.nodes(again, f"{where}: backward", depth)),)

    def _cell(
        self, item: Mapping[str, Any], where: str, depth: int
    ) -> tuple[Node, ...]:
        block = _block(item, where, "cell", ("nodes", "skips"), ())
        where = f"{where}: cell"
        nodes, skips = block["nodes"], block["skips"]
        if not isinstance(nodes, (list, tuple)) or len(nodes) == 0:
            raise ConfigError(
                f"{where}: nodes is {quote(nodes)}; accepted is a list with a list of "
                "layers for each node"
            )
        rows = isinstance(skips, (list, tuple)) and all(
            isinstance(row, (list, tuple)) for row in skips
        )
        counts = list(range(1, len(nodes) + 1))
        if not rows or [len(row) for row in skips] != counts:
            raise ConfigError(
                f"{where}: skips is {quote(skips)}; accepted is a list of lists for "
                f"{len(nodes)} nodes, with {', '.join(map(str, counts))} layers: a "
                "node's skips come from the input and from each node before it"
            )
        bodies, layers = [], []
        for number, (body, row) in enumerate(zip(nodes, skips, strict=True), start=1):
            bodies.append(self.nodes(body, f"{where}: nodes[{number}]", depth))
            place = f"{where}: skips[{number}]"
            layers.append(
                tuple(self._layer(s, f"{place}[{n}]") for n, s in enumerate(row, 1))
            )
        return (Cell(tuple(bodies), tuple(layers)),)

    def _layer(self, item: Any, where: str) -> int:
        layer = self._parse_layer(item, where)
        self.layers.append(layer)
        self._operations += len(layer.candidates)
        if len(self.layers) > MOST_LAYERS:
            raise ConfigError(f"{where}: accepted are at most {MOST_LAYERS} layers")
        if self._operations > _MOST_OPERATIONS:
            raise ConfigError(
                f"{where}: accepted are at most {_MOST_OPERATIONS} operations in all "
                "layers"
            )
        return len(self.layers) - 1

    def _parse_layer(self, item: Any, where: str) -> Layer:
        if isinstance(item, Mapping) and "choice" in item:
            return self._tied(item, where)
        place = where.removeprefix(PREFIX)
        if not isinstance(item, (list, tuple)):
            return Layer((parse_op(item, where),), place=place)
        return Layer(_candidates(item, where), place=place)

    def _tied(self, item: Mapping[str, Any], where: str) -> Layer:
        group = item["choice"]
        if set(item) != {"choice", "candidates"} or not isinstance(group, str):
            raise ConfigError(
                f"{where}: found the keys {format_keys(item)} and the choice "
                f"{quote(group)}; a choice that several layers share has exactly the "
                "keys 'choice', a name, and 'candidates', a list of operations"
            )
        candidates = item["candidates"]
        if not isinstance(candidates, (list, tuple)) or len(candidates) < 2:
            raise ConfigError(
                f"{where}: the candidates of choice {quote(group)} are "
                f"{quote(candidates)}; accepted is a list of at least two operations"
            )
        parsed = _candidates(candidates, where)
        if self._groups.setdefault(group, parsed) != parsed:
            raise ConfigError(
                f"{where}: choice {quote(group)} has the candidates "
                f"{', '.join(map(str, parsed))} here and "
                f"{', '.join(map(str, self._groups[group]))} before; layers that share "
                "a choice need the same"
            )
        return Layer(parsed, group, where.removeprefix(PREFIX))


def _block(
    item: Mapping[str, Any],
    where: str,
    name: str,
    needed: tuple[str, ...],
    optional: tuple[str, ...],
) -> Mapping[str, Any]:
    """Return the mapping inside ``{name: {...}}`` after a check of its keys."""
    block = item[name]
    keys = ", ".join(repr(k) for k in (*needed, *optional))
    if set(item) != {name}:
        raise ConfigError(
            f"{where}: found the keys {format_keys(item)}; a block has exactly the key "
            f"'{name}'"
        )
    if not isinstance(block, Mapping) or not (
        set(needed) <= set(block) <= {*needed, *optional}
    ):
        found = format_keys(block) if isinstance(block, Mapping) else quote(block)
        raise ConfigError(
            f"{where}: {name} is {found}; accepted is a mapping with the keys {keys}"
            + "".join(f", of which {key!r} may be left out" for key in optional)
        )
    return block


def _candidates(item: Sequence[Any], where: str) -> tuple[OpSpec, ...]:
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
    return candidates
