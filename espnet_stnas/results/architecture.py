"""Architecture files, written by a search or by hand. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.messages import format_keys, quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.collection import resolve
from espnet_stnas.results.provenance import Provenance
from espnet_stnas.version import __version__

FORMAT = 1
# The largest number of choices that an error names.
_MOST_CHOICES, _MOST_CANDIDATES = 3, 4
_HEADER = """\
# An architecture for the ESPnet encoder 'stnas' (espnet_stnas). The keys 'encoder'
# and 'encoder_conf' can be put into any ESPnet training YAML as they are.
"""


@dataclass(frozen=True)
class Architecture:
    """A fixed encoder and its origin.

    Args:
        space: The layers; every one is fixed.
        provenance: Search space, epoch, seed, probabilities, versions.

    >>> import tempfile
    >>> conf = {"layers": ["tdnn-C1S3D1", "tdnn-C1D2"], "width": 64}
    >>> found = Architecture(SearchSpace.from_conf(conf), Provenance(epoch=7))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found.write(f"{folder}/arch.yaml")
    ...     again = Architecture.read(f"{folder}/arch.yaml")
    >>> again.space == found.space, again.provenance.epoch
    (True, 7)
    """

    space: SearchSpace
    provenance: Provenance = field(default_factory=Provenance)

    def decisions(self) -> list[Optional[Mapping[str, float]]]:
        """Return, for each layer, the probabilities of its candidates.

        The entry of a layer that was not searched is None; it is empty if the file does
        not contain the probabilities.
        """
        return self._decisions

    @cached_property
    def _decisions(self) -> list[Optional[Mapping[str, float]]]:
        # Reading the space takes milliseconds, and a search needs it in every epoch.
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
        """Read an architecture file; see :func:`read_space` for the accepted files.

        Raises:
            ConfigError: If the file is missing, damaged, of another format, or a search
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

    The file may come from a search. It may also be any ESPnet YAML with ``encoder:
    stnas`` and its ``encoder_conf``, or just an ``encoder_conf`` with the key
    ``layers``. The keys ``format`` and ``provenance`` are optional.

    Args:
        path: The file, or ``zoo:NAME``.
        what: The expected kind of file, for error messages.

    Returns:
        The layers, their provenance, and all keys of the file.

    Raises:
        ConfigError: If the file is missing, damaged, of another format, or something
            else.
    """
    data = read_yaml_mapping(resolve(path), what)
    # True and 1.0 equal 1, but only the integer 1 is accepted.
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
    """Name the open choices of a space, at most a few of them."""
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
