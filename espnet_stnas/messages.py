"""Quotes values in error messages: short, and on one line. No torch."""

from __future__ import annotations

import itertools
import re
import reprlib
from collections.abc import Iterable
from typing import Any, Optional

_MOST_KEYS = 8
# How torch begins the message of an error that a worker process raised.
_OF_A_WORKER = re.compile(r"Caught \w+ in .*\nOriginal Traceback")


class _Short(reprlib.Repr):
    """A ``repr`` with limited time and length, whatever the value.

    With aliases, a YAML file of a few lines can describe a value that does not fit into
    memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = 4
        self.maxstring = self.maxother = 60

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write out integers of thousands of digits.
        bits = x.bit_length()
        return repr(x) if bits <= 64 else f"an integer of {bits} bits"


_SHORT = _Short()


def quote(value: Any) -> str:
    """Return a value as Python writes it, shortened if it is long."""
    return _SHORT.repr(value)


def one_line(text: object) -> str:
    """Return a text on one line, with control characters escaped."""
    line = " ".join(str(text).split())
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def reason(error: BaseException) -> str:
    """Return the class and the message of an error on one line, whatever it is.

    Torch makes an error that a worker process raised anew, with the traceback as the
    only argument. Not every class can be made so: the message of soundfile's error, for
    example, raises an error itself.
    """
    try:
        text = str(error)
    except Exception:
        text = " ".join(map(str, error.args))
    inner = worker_message(text)
    return one_line(f"{type(error).__name__}: {text}" if inner is None else inner)


def worker_message(text: str) -> Optional[str]:
    """Return the last error of a traceback from a worker process of torch.

    Args:
        text: The message of an error that torch raises for a worker.

    Returns:
        The name and the message of the error; None for another text.
    """
    if not _OF_A_WORKER.match(text):
        return None
    # The last frame is followed by indented lines of code, then by the error.
    lines = text.strip().rpartition('\n  File "')[2].split("\n")[1:]
    error = "\n".join(itertools.dropwhile(lambda line: line[:1] == " ", lines))
    name, colon, message = error.partition(": ")
    return f"{name.rpartition('.')[2]}{colon}{message}"


def format_keys(found: Iterable[Any]) -> str:
    """Return the names of the keys of a mapping, for messages."""
    names = [quote(key) for key in itertools.islice(found, _MOST_KEYS + 1)]
    if len(names) > _MOST_KEYS:
        names[-1] = "..."
    return ", ".join(names) or "nothing"
