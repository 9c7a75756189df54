"""Small files: written whole or not at all, read with safe loaders."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Union

import yaml

from espnet_stnas.spec import ConfigError

PathLike = Union[str, Path]


def write_text(path: PathLike, text: str) -> None:
    """Write a file by way of a temporary one, so that it is never half-written.

    Raises:
        OSError: If it cannot be written; an older file is then left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp makes private files; results are for everyone, as the umask says.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def dump_yaml(data: Any) -> str:
    """YAML text in which only the innermost lists and mappings share a line."""
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=88)


def read_yaml_mapping(path: PathLike, what: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Args:
        path: The file.
        what: What it should be, for error messages.

    Raises:
        ConfigError: If it is missing, damaged, or holds something else.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{what} {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{what} {path} is not valid YAML: {reason}") from None
    if not isinstance(data, dict):
        raise ConfigError(
            f"{what} {path} holds {type(data).__name__}; accepted is a mapping of keys"
        )
    return data
