"""The file of all evaluations of a search. No torch.

``evaluations/<data>.csv`` in the directory of a search has one line for each
architecture that was evaluated. Lines are appended as results come, so an evaluation
that was stopped goes on where it ended, and several may run side by side.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_text, writing
from espnet_stnas.messages import quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.selection.evaluation import Evaluation
from espnet_stnas.selection.paths import PathIndices, path_name

DIRECTORY = "evaluations"


@dataclass(frozen=True)
class Conditions:
    """What an evaluation depends on besides the architecture.

    Args:
        epoch: Epoch of the shared weights.
        weights: Digest of these weights.
        data: Digest of the data set.
        calibration: Training batches for the statistics of batch norms; 0 if there are
            no batch norms.
    """

    epoch: int
    weights: str
    data: str
    calibration: int


_CONDITIONS = tuple(f.name for f in fields(Conditions))
_RESULTS = tuple(f.name for f in fields(Evaluation))
_HEADER = (*_CONDITIONS, "architecture", *_RESULTS)


class EvaluationLog:
    """Reads and appends to the file of evaluations.

    Args:
        path: The file; it need not exist.
        space: The search space.
    """

    def __init__(self, path: Path, space: SearchSpace) -> None:
        self.path = path
        self.space = space

    def read(self, conditions: Conditions) -> dict[PathIndices, Evaluation]:
        """Return what is known under these conditions; others' lines are ignored.

        A last line without an end comes from a program that was killed; it is ignored,
        too.

        Raises:
            ConfigError: If the file is damaged, or not of evaluations.
        """
        rows = self._rows()
        return self._under(rows, [str(value) for value in astuple(conditions)])

    def latest(self) -> tuple[Optional[int], dict[PathIndices, Evaluation]]:
        """Return the epoch of the last line, and all results under its conditions.

        Raises:
            ConfigError: If the file is damaged, or not of evaluations.
        """
        rows = self._rows()
        if not rows or not rows[-1][1][0].isdigit():
            return None, {}
        last = rows[-1][1][: len(_CONDITIONS)]
        return int(last[0]), self._under(rows, last)

    def _rows(self) -> list[tuple[int, list[str], Evaluation]]:
        """Return number, cells and result of each whole line."""
        if not self.path.exists():
            return []
        text = read_text(self.path, "file of evaluations")
        lines = text.split("\n")[:-1]
        if not lines and text:
            raise self._damaged(1, text)
        rows = []
        for number, line in enumerate(lines, start=1):
            row = next(csv.reader([line]), [])
            if number == 1:
                if tuple(row) != _HEADER:
                    raise self._damaged(number, line)
                continue
            try:
                rows.append((number, row, self._evaluation(row)))
            except ValueError:
                raise self._damaged(number, line) from None
        return rows

    def _under(
        self, rows: Sequence[tuple[int, list[str], Evaluation]], wanted: list[str]
    ) -> dict[PathIndices, Evaluation]:
        return {
            self._path_of(row[len(wanted)], number): evaluation
            for number, row, evaluation in rows
            if row[: len(wanted)] == wanted
        }

    def append(
        self, conditions: Conditions, results: Mapping[PathIndices, Evaluation]
    ) -> None:
        """Append results, so that they are on the disk.

        Raises:
            WriteError: If they cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for path, evaluation in results.items():
            values = (_text(value) for value in astuple(evaluation))
            writer.writerow(
                [*astuple(conditions), path_name(self.space, path), *values]
            )
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+") as file:
                with suppress(OSError):  # some file systems have no locks
                    fcntl.flock(file, fcntl.LOCK_EX)
                size = _whole_lines(file)
                file.truncate(size)
                header = ",".join(_HEADER) + "\n" if size == 0 else ""
                file.write((header + text.getvalue()).encode())
                file.flush()
                os.fsync(file.fileno())

    def _path_of(self, name: str, number: int) -> PathIndices:
        names = [[str(op) for op in c.candidates] for c in self.space.choices]
        words = name.split(" ")
        if len(words) != len(names) or not all(
            word in known for word, known in zip(words, names, strict=True)
        ):
            raise ConfigError(
                f"{self.path}, line {number}: {quote(name)} is no architecture of the "
                f"search space; move the file away, and it is made anew"
            )
        return tuple(known.index(w) for w, known in zip(words, names, strict=True))

    def _evaluation(self, row: list[str]) -> Evaluation:
        if len(row) != len(_HEADER):
            raise ValueError
        values = [_number(cell) for cell in row[-len(_RESULTS) :]]
        if values[0] is None:
            raise ValueError
        return Evaluation(values[0], *values[1:])

    def _damaged(self, number: int, line: str) -> ConfigError:
        return ConfigError(
            f"{self.path}, line {number}: {quote(line)} is no line of stnas evaluate; "
            "move the file away, and it is made anew"
        )


def _whole_lines(file: io.BufferedRandom) -> int:
    """Return the bytes up to the end of the last whole line."""
    file.seek(0)
    return file.read().rfind(b"\n") + 1


def _text(value: Optional[float]) -> str:
    return "" if value is None else repr(value)


def _number(cell: str) -> Optional[float]:
    return float(cell) if cell else None
