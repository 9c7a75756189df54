"""Show how far a search, a training or a decoding is, from its output on stdin."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Optional

# Seconds from one passing line to the next where no terminal shows each in place of
# the one before.
PAUSE = 10.0
_NUMBER = r"(-?\d+(?:\.\d*)?(?:e[+-]?\d+)?|nan|-?inf)"
_LOSS = re.compile(rf"(?<!\w)loss={_NUMBER}")
_STARTED = re.compile(r"(\d+)/(\d+)epoch started")
_BATCHES = re.compile(r"(\d+)epoch:train:\d+-(\d+)batch: (.*)")
_RESULTS = re.compile(r"(\d+)epoch results: \[train\] (.*?)\[valid\] (.*)")
_SEARCH = re.compile(r"epoch \d+/\d+.*, step .*")
_KEY = re.compile(r"Signs of the arg max: .*")
# Of espnet_stnas' decoder, whose bar is in a line with others.
_BAR = re.compile(r"decoding: +\d+%.* (\d+)/(\d+) ")


class Watcher:
    """Turns lines of logs into what a person wants to see of them.

    Args:
        utterances: How many are to be decoded, if any are.
    """

    def __init__(self, utterances: int = 0) -> None:
        self.utterances = utterances
        self._decoded = 0
        self._first = 0
        self._last = 0
        self._start = 0.0
        self._searching = False

    def read(self, line: str, now: float) -> Optional[tuple[str, bool]]:
        """What to show of a line, and whether it stays.

        Args:
            line: A line of a log.
            now: Seconds on any clock.
        """
        if match := _SEARCH.search(line):
            self._searching = True
            return match[0], False
        if match := _KEY.search(line):
            return match[0], True
        if match := _STARTED.search(line):
            if not self._last:
                self._first, self._start = int(match[1]), now
            self._last = int(match[2])
            return f"epoch {match[1]}/{match[2]} started", False
        if match := _RESULTS.search(line):
            return self._epoch(int(match[1]), match[2], match[3], now), True
        if not self._searching and (match := _BATCHES.search(line)):
            epoch, step = match[1], match[2]
            return f"epoch {epoch}/{self._last}, step {step}:{_loss(match[3])}", False
        if match := _BAR.search(line):
            return f"decoded {match[1]} of {match[2]} utterances", False
        if self.utterances and "best hypo:" in line:
            self._decoded += 1
            return f"decoded {self._decoded} of {self.utterances} utterances", False
        return None

    def _epoch(self, epoch: int, train: str, valid: str, now: float) -> str:
        text = f"epoch {epoch}/{self._last}:{_loss(train)}, on dev{_loss(valid)}"
        done, left = max(1, epoch - self._first + 1), self._last - epoch
        # A search says it with each step, and better: its last epochs take longer.
        if left > 0 and not self._searching:
            text += f", {in_words((now - self._start) / done * left)} left"
        return text


def _loss(values: str) -> str:
    found = _LOSS.findall(values)
    return f" loss {float(found[-1]):.4g}" if found else ""


def in_words(seconds: float) -> str:
    """A time for people."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def lines_of(file: int) -> Iterator[str]:
    """Lines of a descriptor as they come; progress bars return to the left edge."""
    with open(file, encoding="utf-8", errors="replace", newline=None) as stream:
        yield from stream


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=0, help="to be decoded")
    watcher = Watcher(parser.parse_args(cmd).utterances)
    # Whoever writes is stopped by Ctrl-C; its last words are still read.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminal = sys.stdout.isatty()
    shown = -PAUSE
    for line in lines_of(sys.stdin.fileno()):
        now = time.monotonic()
        found = watcher.read(line, now)
        if found is None:
            continue
        text, stays = found
        if terminal:
            # The width is asked each time: windows change.
            width = os.get_terminal_size(sys.stdout.fileno()).columns
            end = "\n" if stays else ""
            text = text if stays or not width else text[:width]
            print(f"\r\033[K{text}", end=end, flush=True)
        elif stays or now - shown >= PAUSE:
            print(text, flush=True)
            shown = shown if stays else now
    if terminal:
        print("\r\033[K", end="", flush=True)


if __name__ == "__main__":
    main()
