"""Quotes values in error messages: short, and on one line. No torch."""

from __future__ import annotations

import itertools
import reprlib
from collections.abc import Iterable
from typing import Any

_MOST_KEYS = 8


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


def format_keys(found: Iterable[Any]) -> str:
    """Return the names of the keys of a mapping, for messages."""
    names = [quote(key) for key in itertools.islice(found, _MOST_KEYS + 1)]
    if len(names) > _MOST_KEYS:
        names[-1] = "..."
    return ", ".join(names) or "nothing"
