"""Reads small files with safe loaders; writes them completely or not at all.

A file gets its name when it is complete and on the disk.
"""

from __future__ import annotations

import errno
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional, Union

import yaml

from espnet_stnas.errors import ConfigError, WriteError
from espnet_stnas.messages import one_line, quote

PathLike = Union[str, Path]

# A file that expands to more (by aliases) or nests deeper is damaged, or an attack.
_MOST_VALUES = 1_000_000
_DEEPEST = 100
# Python does not convert longer integers to text.
_MOST_DIGITS = 1000
# If PyYAML was built with libyaml, this loader is five times as fast.
_FAST_LOADER = getattr(yaml, "CSafeLoader", None)
# PyYAML raises these at values that do not fit their tag or form, such as the date
# 2024-13-01.
_BAD_VALUES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@contextmanager
def writing(path: PathLike) -> Iterator[None]:
    """Add the name of the file being written to errors of the disk.

    Raises:
        WriteError: Instead of any other OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(error.errno, reason, str(path)) from error


def write_text(path: PathLike, text: str) -> None:
    """Write a text file through a temporary file, so that it is never half-written.

    Raises:
        WriteError: If it cannot be written; an older file then stays as it was.
    """
    write_bytes(path, text.encode())


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write a binary file through a temporary file, so that it is never half-written.

    Raises:
        WriteError: If it cannot be written; an older file then stays as it was.
    """
    with writing(path):
        _write_whole(Path(path), data)


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            file.write(data)
        # mkstemp makes private files, but results get the usual rights (umask).
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        give_name(Path(temporary), path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def give_name(temporary: Path, path: Path) -> None:
    """Give a complete file its name, so that both survive a loss of power.

    Args:
        temporary: The file, which is closed.
        path: Its name, in the same directory; a file of this name is replaced.

    Raises:
        OSError: If the disk cannot hold it.
    """
    _to_disk(temporary)
    os.replace(temporary, path)
    try:
        _to_disk(path.parent)
    except OSError as error:
        # Some network file systems cannot do this for directories.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_text(path: PathLike, what: str) -> str:
    """Read a small text file.

    Args:
        path: The file, in UTF-8.
        what: The expected kind of file, for error messages.

    Raises:
        ConfigError: If it is missing or cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{what} {path} does not exist") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what} {path} cannot be read: {error}") from None


def read_kaldi_text(path: PathLike, what: str) -> dict[str, str]:
    """Read a Kaldi text file: an utterance id and its value on each line.

    The values equal those of ESPnet's ``read_2columns_text``, which takes a third of a
    second to import and refuses empty lines.

    Args:
        path: The file, in UTF-8.
        what: The expected kind of file, for error messages.

    Returns:
        The value of each utterance, in the order of the file; it may be empty.

    Raises:
        ConfigError: If it is missing, cannot be read, contains no utterance, or
            contains one twice.
    """
    found: dict[str, str] = {}
    # splitlines would also split at other characters, which texts may contain.
    for number, line in enumerate(read_text(path, what).split("\n"), start=1):
        name, value = (*line.rstrip().split(maxsplit=1), "", "")[:2]
        if name in found:
            raise ConfigError(
                f"{what} {path}, line {number}: the utterance {quote(name)} is there "
                "twice"
            )
        if name:
            found[name] = value
    if not found:
        raise ConfigError(f"{what} {path} holds no utterance")
    return found


def read_bytes(path: PathLike, what: str) -> bytes:
    """Read a binary file.

    Args:
        path: The file.
        what: The expected kind of file, for error messages.

    Raises:
        ConfigError: If it is missing or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{what} {path} does not exist") from None
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}") from None


def check_sums(path: PathLike) -> None:
    """Compare the checksums in a zip archive, which `torch.load` does not.

    Args:
        path: A file that torch wrote; one that is no archive passes.

    Raises:
        ConfigError: If a part of it has changed.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (
        EOFError,
        NotImplementedError,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
    ) as e:
        raise ConfigError(f"{path} is damaged ({one_line(e)})") from None
    if part is not None:
        raise ConfigError(f"{path} is damaged (its part {one_line(part)})")


def dump_yaml(data: Any) -> str:
    """Return YAML text in which only the innermost lists and mappings are inline."""
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=88)


def read_yaml_mapping(path: PathLike, what: str) -> dict[str, Any]:
    """Read a YAML file that contains a mapping of plain values, of limited size.

    Args:
        path: The file.
        what: The expected kind of file, for error messages.

    Raises:
        ConfigError: If it is missing, damaged, or contains something else; also if it
            refers to itself, has a key twice, or is enormous.
    """
    text = read_text(path, what)
    try:
        data = _load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{what} {path} is not valid YAML: {one_line(error)}"
        ) from None
    except RecursionError:
        raise ConfigError(
            f"{what} {path} is nested too deeply; accepted are {_DEEPEST} levels"
        ) from None
    except _BAD_VALUES as e:
        raise ConfigError(
            f"{what} {path} holds a value that cannot be read ({quote(str(e))})"
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(
            f"{what} {path} holds {type(data).__name__}; accepted is a mapping of keys"
        )
    return data


def _load_yaml(text: str) -> Any:
    # The two loaders differ at tabs and other invisible characters.
    if _FAST_LOADER is not None and text.replace("\n", "").isprintable():
        try:
            return _load_with(_FAST_LOADER, text)
        except (yaml.YAMLError, RecursionError, *_BAD_VALUES):
            # The Python loader makes the message, which is then the same everywhere.
            pass
    return _load_with(yaml.SafeLoader, text)


def _load_with(loader_class: Any, text: str) -> Any:
    loader = loader_class(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        # Check before the values are built: merge keys (<<) can expand to too much.
        _measure(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _measure(
    node: yaml.Node, known: dict[int, Optional[tuple[int, int]]]
) -> tuple[int, int]:
    """Count the values and the levels of a node, with aliases expanded.

    Args:
        node: The node.
        known: Counts of finished nodes; None for nodes that are being counted.

    Raises:
        yaml.YAMLError: If it is too large or too deep, refers to itself, or has a key
            twice.
    """  # noqa: DOC501 (raised by _refusal)
    if isinstance(node, yaml.ScalarNode):
        if node.tag.endswith(":int") and len(node.value) > _MOST_DIGITS:
            raise _refusal(f"found an integer of {len(node.value)} digits", node)
        return 1, 1
    if id(node) in known:
        counts = known[id(node)]
        if counts is None:
            raise _refusal("found a value that contains itself", node)
        return counts
    known[id(node)] = None
    children = node.value
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        children = [child for pair in node.value for child in pair]
    counted = [_measure(child, known) for child in children]
    values = 1 + sum(v for v, _ in counted)
    levels = 1 + max((d for _, d in counted), default=0)
    if values > _MOST_VALUES or levels > _DEEPEST:
        raise _refusal(
            f"found more than {_MOST_VALUES} values or {_DEEPEST} levels, counting "
            "what aliases stand for",
            node,
        )
    known[id(node)] = values, levels
    return values, levels


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in seen:
                raise _refusal(f"found the key {quote(key.value)} twice", key)
            seen.add((key.tag, key.value))


def _refusal(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
