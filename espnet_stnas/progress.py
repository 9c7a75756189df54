"""How far long work is: a bar on a terminal, a line for each tenth elsewhere."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


class Progress:
    """A context in which work is done, and says how far it is, on standard error.

    Args:
        what: What is done.
        total: How much there is to do.
        unit: Of what there is to do.
    """

    def __init__(self, what: str, total: float, unit: str) -> None:
        self.what = what
        self.total = total
        self.unit = unit
        self._done = 0.0
        self._said = 0
        self._bar: Any = None

    def __enter__(self) -> Progress:
        """Show the bar, if there is a terminal."""
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=self.total,
                desc=self.what,
                unit=self.unit,
                leave=False,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
            )
        return self

    def __exit__(self, *_: Any) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def advance(self, by: float = 1.0) -> None:
        """Say that more is done."""
        self._done = min(self._done + by, self.total)
        if self._bar is not None:
            self._bar.update(self._done - self._bar.n)
            return
        tenths = int(10 * self._done / self.total) if self.total else 10
        if tenths > self._said:
            self._said = tenths
            print(
                f"{self.what}: {10 * tenths}% of {self.total:g} {self.unit}",
                file=sys.stderr,
                flush=True,
            )
