"""Let plain python3 of this environment find the encoder `stnas`, or stop doing so.

The commands are ``stnas autoload enable``, ``disable`` and ``status``.

Python reads .pth files when it starts. A line in such a file installs the hook of
:mod:`espnet_stnas.host.registry`; it does not import torch or ESPnet. The file is
entered in the package's list of installed files, so that uninstalling removes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import write_text

FILE = "espnet_stnas_autoload.pth"
# One line, without an error if the package is gone.
LINE = (
    "import sys; exec('try: import espnet_stnas\\nexcept ModuleNotFoundError: pass')\n"
)


def installed() -> tuple[Path, Path]:
    """Return the path of the .pth file and of the list of installed files.

    Raises:
        ConfigError: If the package was not installed by pip.
    """
    try:
        found = distribution("espnet_stnas")
    except PackageNotFoundError:
        found = None
    record = _record(found)
    if record is None:
        raise ConfigError(
            "espnet_stnas is not installed in this environment; autoload needs it to "
            "be: pip install it first"
        )
    return record.parent.parent / FILE, record


def _record(found: Optional[Distribution]) -> Optional[Path]:
    for path in (found.files or ()) if found is not None else ():
        if path.name == "RECORD" and path.parent.name.endswith(".dist-info"):
            return Path(str(path.locate()))
    return None


def enable() -> None:
    """Write the .pth file and enter it in the list. A second call changes nothing."""
    target, record = installed()
    lines = [line for line in _lines(record) if not line.startswith(f"{FILE},")]
    # First the list: a missing file does not disturb an uninstall.
    _write(record, [*lines, f"{FILE},,\n"])
    _write(target, [LINE])


def disable() -> None:
    """Remove the .pth file and its entry. A second call changes nothing."""
    target, record = installed()
    target.unlink(missing_ok=True)
    lines = _lines(record)
    kept = [line for line in lines if not line.startswith(f"{FILE},")]
    if kept != lines:
        _write(record, kept)


def enabled() -> bool:
    """Return whether the .pth file exists."""
    return installed()[0].is_file()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def _write(path: Path, lines: Sequence[str]) -> None:
    try:
        write_text(path, "".join(lines))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}); autoload changes the "
            "environment that runs it, which must be writable"
        ) from None
