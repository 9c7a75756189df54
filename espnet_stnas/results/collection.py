"""Architectures that come with the package, by name: the zoo. No torch."""

from __future__ import annotations

from pathlib import Path

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike
from espnet_stnas.messages import quote

PREFIX = "zoo:"
_FOLDER = Path(__file__).with_name("zoo")


def zoo_names() -> list[str]:
    """Return the names of the architectures, in order."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def resolve(path: PathLike) -> PathLike:
    """Return the file of an architecture that is named ``zoo:NAME``.

    Args:
        path: A name or a path; paths are returned as they are.

    Raises:
        ConfigError: If there is no architecture of that name.
    """
    if not str(path).startswith(PREFIX):
        return path
    name = str(path).removeprefix(PREFIX)
    if name not in zoo_names():
        raise ConfigError(
            f"the zoo has no architecture {quote(name)}; accepted are: "
            f"{', '.join(zoo_names())}"
        )
    return _FOLDER / f"{name}.yaml"
