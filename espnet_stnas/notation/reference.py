"""Imports a config.json of the ST-NAS paper's code as a search space. No torch.

That code (github.com/thu-spmi/ST-NAS) describes an encoder by the name of a topology,
the candidates of each node, and the width of each block. The output layer is not
imported: ESPnet builds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike
from espnet_stnas.messages import format_keys, quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.spec import OpSpec, parse_op

# Number of choices in a block, without the shortcut of residual blocks.
NETS = {
    "UniNodeNet": 1,
    "BiNodeNet": 2,
    "ResidualNet": 1,
    "BiResidualNet": 2,
    "MFRNet": 1,
}
# Operations that cannot change the width.
_KEEP_WIDTH = ("identity", "transformer")
# The paper's code builds a transformer of this size at any width of the network.
_TRANSFORMER = "transformer-H8F1024"
_SUBSAMPLING = "tdnn-C1S3D1"
# Features, and their first and second derivatives: the paper's 120 = 40 x 3.
DELTAS = 3

Candidates = Union[str, list[str]]


def import_config(path: PathLike, *, deltas: bool = False) -> SearchSpace:
    """Convert a config.json to a search space.

    As in the paper's code, a node that changes the width has no candidates that keep
    it. The shortcut of a residual block chooses between zero and identity, or between
    zero and lstm where the width changes.

    Args:
        path: The file.
        deltas: Start with a layer that appends both time derivatives. The encoder then
            takes frames with a third of the file's ``idim``.

    Raises:
        ConfigError: If the file is missing or damaged, or uses something that the
            paper's code or this project does not support.
    """
    return _Importer(Path(path)).space(deltas)


def input_size(path: PathLike) -> int:
    """Return the ``idim`` of a config.json: dimensions of an input frame.

    Raises:
        ConfigError: See :func:`import_config`.
    """
    return _Importer(Path(path)).widths()[0]


class _Importer:
    """Reads one file; every error message names it."""

    def __init__(self, path: Path) -> None:
        self.where = f"reference config {path}"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{self.where} does not exist") from None
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{self.where} cannot be read: {error}") from None
        if not isinstance(data, dict) or not isinstance(data.get("net_configs"), dict):
            raise ConfigError(
                f"{self.where} holds {quote(data)}; accepted is an object with the "
                "keys 'candidate', 'net' and 'net_configs'"
            )
        self.net = data.get("net")
        if not isinstance(self.net, str) or self.net not in NETS:
            raise ConfigError(
                f"{self.where}: net is {quote(self.net)}; accepted are: "
                f"{', '.join(NETS)}"
            )
        self.candidate = data.get("candidate")
        self.net_configs: dict[str, Any] = data["net_configs"]

    def space(self, deltas: bool) -> SearchSpace:
        widths = self.widths()
        self.width = widths[-1]
        nodes = self._candidates(len(widths) - 1)
        layers = [
            self._block(input_width, width, candidates)
            for input_width, width, candidates in zip(
                widths[:-1], widths[1:], nodes, strict=True
            )
        ]
        if self.net == "MFRNet":
            self._add_subsampling(layers)
        dropout = self._number("dropout", none=0.0)
        size = widths[0]
        if deltas:
            if size % DELTAS:
                raise ConfigError(
                    f"{self.where}: idim is {size}; accepted with --deltas is a "
                    f"multiple of {DELTAS}: features and both their derivatives"
                )
            layers.insert(0, "deltas")
            size //= DELTAS
        try:
            space = SearchSpace.from_conf(
                {"width": self.width, "dropout_rate": dropout, "layers": layers}
            )
            space.shapes(size)
        except ConfigError as error:
            raise ConfigError(f"{self.where}: {error}") from None
        return space

    def widths(self) -> list[int]:
        """The width of the input and of every block."""
        count = self._get("block_list")
        if not (isinstance(count, list) and len(count) == 1 and _is_size(count[0])):
            raise ConfigError(
                f"{self.where}: block_list is {quote(count)}; accepted is a list "
                "of one number of blocks"
            )
        odims = self._get("odims")
        given = odims if isinstance(odims, list) else [odims]
        idim = self._get("idim")
        if not given or not all(map(_is_size, (idim, *given))):
            raise ConfigError(
                f"{self.where}: idim is {quote(idim)} and odims {quote(odims)}; "
                "accepted are positive integers, for odims also a list of them"
            )
        blocks = count[0]
        if len(given) >= blocks:
            return [idim, *given[:blocks]]
        # Each width applies to as many blocks, the last one also to the remaining ones.
        share = blocks // len(given)
        widths = [width for width in given[:-1] for _ in range(share)]
        return [idim, *widths, *[given[-1]] * (blocks - len(widths))]

    def _candidates(self, blocks: int) -> list[list[list[str]]]:
        """Return the candidates of every node of every block."""
        base = self.candidate
        others: Mapping[str, Any] = {}
        if isinstance(base, dict):
            others = {key: value for key, value in base.items() if key != "base"}
            base = base.get("base")
        nodes = NETS[str(self.net)]
        table = [[self._names(base, "base")] * nodes for _ in range(blocks)]
        for key, value in others.items():
            try:
                block, node = (int(part) for part in key.split("-"))
                table[block][node] = self._names(value, key)
            except (ValueError, IndexError):
                raise ConfigError(
                    f"{self.where}: candidate has the key {quote(key)}; accepted are "
                    f"'base' and 'BLOCK-NODE', with BLOCK below {blocks} and NODE "
                    f"below {nodes}"
                ) from None
        return table

    def _names(self, value: Any, key: str) -> list[str]:
        if not (
            isinstance(value, list) and value and all(isinstance(v, str) for v in value)
        ):
            raise ConfigError(
                f"{self.where}: the candidates '{key}' are {quote(value)}; accepted is "
                "a list of names of operations"
            )
        return value

    def _block(
        self, input_width: int, width: int, nodes: Sequence[Sequence[str]]
    ) -> Any:
        if "Bi" in str(self.net):
            if width % 2:
                raise ConfigError(
                    f"{self.where}: odims holds {width}; accepted are even widths, "
                    f"since both directions of {self.net} have half of it"
                )
            half = [self._node(n, input_width, width // 2) for n in nodes]
            body = {"bidirectional": {"forward": [half[0]], "backward": [half[1]]}}
            body = {key: dict(value) for key, value in body.items()}
        else:
            body = self._node(nodes[0], input_width, width)  # type: ignore[assignment]
        if "Residual" not in str(self.net):
            return body
        other = "identity" if input_width == width else "lstm"
        shortcut = self._node(["zero", other], input_width, width)
        return {"residual": {"body": [body], "shortcut": shortcut}}

    def _node(self, names: Sequence[str], input_width: int, width: int) -> Candidates:
        place = f"{self.where}: candidate"
        operations = [
            self._sized(
                parse_op(_TRANSFORMER if n == "transformer" else n, place), width
            )
            for n in names
            if len(names) == 1 or input_width == width or n not in _KEEP_WIDTH
        ]
        if not operations:
            raise ConfigError(
                f"{self.where}: no candidate of {', '.join(names)} can turn width "
                f"{input_width} into {width}; accepted are others than "
                f"{', '.join(_KEEP_WIDTH)}"
            )
        return operations[0] if len(operations) == 1 else operations

    def _sized(self, spec: OpSpec, width: int) -> str:
        """Return the operation with its width, unless that is the network's width."""
        options = spec.options
        if "width" not in options or (width == self.width and spec.op != "zero"):
            return str(spec)
        return str(parse_op({"op": spec.op, **options, "width": width}, self.where))

    def _add_subsampling(self, layers: list[Any]) -> None:
        position = self._get("pos_subsample")
        width = self._get("odim_sub")
        dropouts = self._number("dropout", 0.0), self._number("dropout_sub", 0.0)
        if dropouts[0] != dropouts[1]:
            raise ConfigError(
                f"{self.where}: dropout is {quote(dropouts[0])} and dropout_sub "
                f"{quote(dropouts[1])}; accepted is the same for both"
            )
        if type(position) is not int or not 0 <= position <= len(layers):
            raise ConfigError(
                f"{self.where}: pos_subsample is {quote(position)}; accepted is an "
                f"integer from 0 to {len(layers)}"
            )
        if not _is_size(width):
            raise ConfigError(
                f"{self.where}: odim_sub is {quote(width)}; accepted is a positive "
                "integer"
            )
        layers.insert(position, self._sized(parse_op(_SUBSAMPLING, self.where), width))

    def _number(self, key: str, none: float) -> float:
        value = self.net_configs.get(key)
        return none if value is None else value

    def _get(self, key: str) -> Any:
        if key not in self.net_configs:
            raise ConfigError(
                f"{self.where}: net_configs lacks the key '{key}'; found "
                f"{format_keys(self.net_configs)}"
            )
        return self.net_configs[key]


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0
