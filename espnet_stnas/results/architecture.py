"""Architecture files: what a search found, or a person wrote. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.messages import format_keys, quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.provenance import Provenance
from espnet_stnas.version import __version__

FORMAT = 1
# What an error names of a space, at most.
_MOST_CHOICES, _MOST_CANDIDATES = 3, 4
_HEADER = """\
# An architecture for the ESPnet encoder 'stnas' (espnet_stnas). The keys 'encoder'
# and 'encoder_conf' can be put into any ESPnet training YAML as they are.
"""


@dataclass(frozen=True)
class Architecture:
    """A fixed encoder and where it comes from.

    Args:
        space: The layers; every one is fixed.
        provenance: Search space, epoch, seed, probabilities, versions.
    """

    space: SearchSpace
    provenance: Provenance = field(default_factory=Provenance)

    def decisions(self) -> list[Optional[Mapping[str, float]]]:
        """For each layer, the probabilities of what the search could choose from.

        None for layers that were not searched, empty if the file does not tell.
        """
        return self._decisions

    @cached_property
    def _decisions(self) -> list[Optional[Mapping[str, float]]]:
        # Reading the space takes milliseconds, and a search asks after each epoch.
        try:
            space = self.provenance.search_space()
        except ConfigError:
            space = None
        if space is None or len(space.layers) != len(self.space.layers):
            return [None] * len(self.space.layers)
        found = self.provenance.probabilities
        return [
            None if n is None else (found[n] if n < len(found) else {})
            for n in space.choice_numbers
        ]

    def write(self, path: PathLike) -> None:
        """Write the architecture file, whole or not at all."""
        data = {
            "format": FORMAT,
            "encoder": "stnas",
            "encoder_conf": self.space.to_conf(),
            "provenance": self.provenance.to_mapping(),
        }
        write_text(path, _HEADER + dump_yaml(data))

    @classmethod
    def read(cls, path: PathLike) -> Architecture:
        """Read an architecture file; see :func:`read_space` for what it may be.

        Raises:
            ConfigError: If it is missing, damaged, of another format, or a search
                space.
        """
        space, provenance, _ = read_space(path, "architecture file")
        if not space.is_architecture:
            raise ConfigError(
                f"architecture file {path} is a search space: {_open_choices(space)}; "
                "accepted is one operation in every layer"
            )
        return cls(space, provenance)


def read_space(
    path: PathLike, what: str
) -> tuple[SearchSpace, Provenance, dict[str, Any]]:
    """Read an architecture or a search space.

    It may be a file that a search wrote, any ESPnet YAML with ``encoder: stnas`` and
    its ``encoder_conf``, or an ``encoder_conf`` by itself, with the key ``layers``. The
    keys ``format`` and ``provenance`` may be left out.

    Args:
        path: The file.
        what: What it should be, for error messages.

    Returns:
        The layers, where they come from, and all keys of the file.

    Raises:
        ConfigError: If it is missing, damaged, of another format, or something else.
    """
    data = read_yaml_mapping(path, what)
    # True and 1.0 equal 1, but are not it.
    if "format" in data and (
        type(data["format"]) is not int or data["format"] != FORMAT
    ):
        raise ConfigError(
            f"{what} {path} has format {quote(data['format'])}; this version "
            f"({__version__}) accepts format {FORMAT}"
        )
    provenance = data.get("provenance")
    if "encoder" not in data and "layers" in data:
        conf: Any = {k: v for k, v in data.items() if k not in ("format", "provenance")}
    elif data.get("encoder") == "stnas" and "encoder_conf" in data:
        conf = data["encoder_conf"]
    else:
        found = f"found {format_keys(data)}"
        if "encoder" in data and data["encoder"] != "stnas":
            found = f"its encoder is {quote(data['encoder'])}"
        raise ConfigError(
            f"{what} {path} holds no layers ({found}); accepted is a YAML with the key "
            "'layers', or with encoder 'stnas' and its encoder_conf"
        )
    if provenance is not None and not isinstance(provenance, dict):
        raise ConfigError(
            f"{what} {path}: 'provenance' is {quote(provenance)}; accepted is a mapping"
        )
    try:
        space = SearchSpace.from_conf(conf)
        return space, Provenance.from_mapping(provenance or {}), data
    except ConfigError as error:
        raise ConfigError(f"{what} {path}: {error}") from None


def _open_choices(space: SearchSpace) -> str:
    """Which choices of a space are open, in words; not all of many."""
    texts = []
    for index in space.first_layers[:_MOST_CHOICES]:
        names = [str(op) for op in space.layers[index].candidates]
        more = [] if len(names) <= _MOST_CANDIDATES else ["..."]
        shown = " | ".join(names[:_MOST_CANDIDATES] + more)
        texts.append(f"{space.layer_name(index)} ({shown})")
    if len(space.choices) > _MOST_CHOICES:
        texts.append(f"and {len(space.choices) - _MOST_CHOICES} more")
    count = len(space.choices)
    return f"{count} choice{'s are' if count > 1 else ' is'} open, {', '.join(texts)}"
