"""Lets one program at a time write to an output directory. No torch."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, writing
from espnet_stnas.messages import one_line

LOCK = ".stnas.lock"
# What a file system answers that has no locks, such as some mounts of NFS.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
# Seconds in which a holder that has just taken the lock writes down its name.
_PATIENCE = 1.0
# Open files of locks: a forked child, such as a worker of a data loader, must not keep
# a lock that its parent has given back, or lost by a kill.
_held: set[int] = set()


@contextmanager
def locked(directory: PathLike, purpose: str) -> Iterator[None]:
    """Hold a directory, so that no other program of ours writes to it.

    The system gives the lock back when the process ends, however it ends. The lock is
    that of ``flock``, which Linux passes on to the server of an NFS mount; the file
    itself only says who holds it. Where the file system has no locks, the file alone
    decides: whoever it names holds the directory, unless that was a process of this
    machine which has ended.

    Args:
        directory: The directory; it is made, and removed again if it stays empty.
        purpose: What the directory is held for, such as "search".

    Raises:
        ConfigError: If another process holds it; the message names that process.
        WriteError: If the directory cannot be written to.
    """
    directory = Path(directory)
    path = directory / LOCK
    with writing(directory):
        made = [d for d in (directory, *directory.parents) if not d.exists()]
        try:
            handle = _take(path)
            try:
                _sign(handle, purpose)
            except BaseException:
                _give_back(path, handle)
                raise
        except BaseException:
            _unmake(made)
            raise
    try:
        yield
    finally:
        _give_back(path, handle)
        _unmake(made)


def _unmake(directories: list[Path]) -> None:
    """Remove directories, the innermost first, as long as they are empty."""
    for directory in directories:
        try:
            directory.rmdir()
        except OSError:  # it holds results
            return


def _take(path: Path) -> int:
    """Return the open file of the lock.

    Raises:
        ConfigError: If another process holds it.
        OSError: If it cannot be opened.
    """
    while True:
        handle = _open(path)
        try:
            _lock(path, handle)
        except BaseException:
            os.close(handle)
            raise
        # The previous holder may have removed the file between the two calls.
        if _is_at(path, handle):
            break
        os.close(handle)
    _held.add(handle)
    found = _holder(path)
    if found:
        # Not `logging.warning`, which would set up logging before ESPnet does.
        logging.getLogger(__name__).warning(
            f"{_name(found)} ended without giving {path.parent} back; it is taken over"
        )
    return handle


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    # Another process may remove the directory between the two calls.
    for _ in range(100):
        with suppress(FileExistsError, FileNotFoundError):
            path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return os.open(path, flags, 0o666)
    return os.open(path, flags, 0o666)


def _lock(path: Path, handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _refusal(path, _holder(path, wait=True)) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        found = _holder(path)
        if _may_be_alive(found):
            raise _refusal(path, found) from None


def _sign(handle: int, purpose: str) -> None:
    """Write down who holds the lock."""
    own = {
        "purpose": purpose,
        "host": platform.node(),
        "pid": os.getpid(),
        "since": datetime.now().isoformat(sep=" ", timespec="seconds"),
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(own).encode() + b"\n", 0)


def _give_back(path: Path, handle: int) -> None:
    # Removed while it is locked: see `_take`.
    if _is_at(path, handle):
        with suppress(OSError):
            path.unlink()
    _held.discard(handle)
    with suppress(OSError):
        os.close(handle)


def _is_at(path: Path, handle: int) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except OSError:
        return False


def _holder(path: Path, wait: bool = False) -> dict[str, Any]:
    """Return what the file says about its holder; nothing if it says nothing."""
    end = time.monotonic() + (_PATIENCE if wait else 0)
    while True:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if {"purpose", "host", "pid", "since"} <= found.keys():
                return dict(found)
        except (OSError, ValueError, AttributeError):
            pass
        if time.monotonic() >= end:
            return {}
        time.sleep(0.05)


def _may_be_alive(found: dict[str, Any]) -> bool:
    """Return whether a holder may still run, as far as this machine can tell."""
    if not found or found["host"] != platform.node():
        return bool(found)
    try:
        os.kill(int(found["pid"]), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _name(found: dict[str, Any]) -> str:
    if not found:
        return "another process"
    return one_line(
        f"the {found['purpose']} of process {found['pid']} on {found['host']} since "
        f"{found['since']}"
    )


def _refusal(path: Path, found: dict[str, Any]) -> ConfigError:
    remedy = ""
    if found and found["host"] != platform.node():
        remedy = f", or remove {path} if that process has ended"
    return ConfigError(
        f"{path.parent} is in use by {_name(found)}; wait until it ends, or choose "
        f"another output_dir{remedy}"
    )


def _after_fork() -> None:
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_after_fork)
