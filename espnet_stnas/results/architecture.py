"""Architecture files: what a search found, and where it comes from. No torch."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.messages import format_keys, quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.version import __version__

FORMAT = 1
_MOST_EPOCHS = 10**9
_KEYS = ("format", "encoder", "encoder_conf", "provenance")
_HEADER = """\
# An architecture for the ESPnet encoder 'stnas' (espnet_stnas). The keys 'encoder'
# and 'encoder_conf' can be put into any ESPnet training YAML as they are.
"""


@dataclass(frozen=True)
class Architecture:
    """A fixed encoder and where it comes from.

    Args:
        space: The layers; every one is fixed.
        provenance: Plain containers: search space, epoch, seed, probabilities,
            versions.
    """

    space: SearchSpace
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def decisions(self) -> list[Optional[dict[str, float]]]:
        """For each layer, the probabilities of what the search could choose from.

        None for layers that were not searched, empty if the file does not tell.
        """
        return self._decisions

    @cached_property
    def _decisions(self) -> list[Optional[dict[str, float]]]:
        # Reading the space takes milliseconds, and a search asks after each epoch.
        origin = self.provenance.get("space")
        layers = origin.get("layers") if isinstance(origin, Mapping) else None
        try:
            numbers = SearchSpace.from_conf({"layers": layers}).choice_numbers
        except ConfigError:
            numbers = ()
        if len(numbers) != len(self.space.layers):
            return [None] * len(self.space.layers)
        found = self.provenance.get("probabilities", ())
        return [
            None if n is None else (found[n] if n < len(found) else {}) for n in numbers
        ]

    def write(self, path: PathLike) -> None:
        """Write the architecture file, whole or not at all."""
        data = {
            "format": FORMAT,
            "encoder": "stnas",
            "encoder_conf": self.space.to_conf(),
            "provenance": dict(self.provenance),
        }
        write_text(path, _HEADER + dump_yaml(data))

    @classmethod
    def read(cls, path: PathLike) -> Architecture:
        """Read an architecture file.

        Raises:
            ConfigError: If it is missing, damaged, of another format, or a search
                space.
        """
        data = read_yaml_mapping(path, "architecture file")
        missing = [key for key in _KEYS if key not in data]
        if missing:
            raise ConfigError(
                f"architecture file {path} lacks the key '{missing[0]}'; "
                f"found {format_keys(data)}"
            )
        # True and 1.0 equal 1, but are not it.
        known = type(data["format"]) is int and data["format"] == FORMAT
        if not known or data["encoder"] != "stnas":
            raise ConfigError(
                f"architecture file {path} has format {quote(data['format'])} and "
                f"encoder {quote(data['encoder'])}; this version ({__version__}) "
                f"accepts format {FORMAT} and encoder 'stnas'"
            )
        for key in ("encoder_conf", "provenance"):
            if not isinstance(data[key], dict):
                raise ConfigError(
                    f"architecture file {path}: '{key}' is {quote(data[key])}; "
                    "accepted is a mapping"
                )
        try:
            _check_provenance(data["provenance"])
            space = SearchSpace.from_conf(data["encoder_conf"])
        except ConfigError as error:
            raise ConfigError(f"architecture file {path}: {error}") from None
        if not space.is_architecture:
            raise ConfigError(
                f"architecture file {path} has {len(space.choices)} choices left; "
                "accepted is one operation in every layer"
            )
        return cls(space, data["provenance"])


def _check_provenance(provenance: Mapping[str, Any]) -> None:
    """Check the form of what is printed and drawn; what is not there is fine."""
    origin = provenance.get("space", {})
    layers = origin.get("layers", []) if isinstance(origin, dict) else None
    if not isinstance(layers, list):
        raise ConfigError(
            f"provenance: space is {quote(origin)}; accepted is a mapping with a list "
            "of layers"
        )
    epoch = provenance.get("epoch", 1)
    if type(epoch) is not int or not 0 <= epoch <= _MOST_EPOCHS:
        raise ConfigError(
            f"provenance: epoch is {quote(epoch)}; accepted is an integer from 0 to "
            f"{_MOST_EPOCHS}"
        )
    choices = provenance.get("probabilities", [])
    if not isinstance(choices, list) or not all(map(_are_probabilities, choices)):
        raise ConfigError(
            f"provenance: probabilities is {quote(choices)}; accepted is a list with a "
            "mapping from operations to numbers from 0 to 1 for each choice"
        )


def _are_probabilities(choice: Any) -> bool:
    return isinstance(choice, dict) and all(
        isinstance(op, str) and type(p) in (int, float) and 0 <= p <= 1
        for op, p in choice.items()
    )


def search_provenance(
    space: SearchSpace,
    probabilities: Sequence[Sequence[float]],
    *,
    epoch: int,
    seed: int,
    searching: bool,
) -> dict[str, Any]:
    """What an architecture file says about the search it comes from.

    Args:
        space: The search space.
        probabilities: pi of every choice, in order.
        epoch: Finished epochs.
        seed: Seed of the search.
        searching: Whether the logits were trained in this epoch (not in warm-up).
    """
    return {
        "epoch": epoch,
        "phase": "search" if searching else "warm-up",
        "seed": seed,
        "probabilities": [
            {
                str(op): round(float(p), 6)
                for op, p in zip(layer.candidates, pi, strict=True)
            }
            for layer, pi in zip(space.choices, probabilities, strict=True)
        ],
        "space": {"digest": space.digest, **space.to_conf()},
        "versions": {
            "espnet_stnas": __version__,
            "espnet": _installed("espnet"),
            "torch": _installed("torch"),
            "python": platform.python_version(),
        },
    }


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
