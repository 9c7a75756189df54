"""Files that a search writes while it runs: curves, and how it was started. No torch.

``curves/<n>epoch.jsonl`` in the output directory of a search has one line for every log
interval of epoch n. If a search is killed during an epoch, the resumed search writes
that epoch's file again. So the files are complete, however often the search was
started.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Optional

from espnet_stnas.files import PathLike, write_text, writing
from espnet_stnas.results.architecture import Architecture

CURVES = "curves"
RUNS = "runs.jsonl"


@dataclass(frozen=True)
class CurvePoint:
    """The state of a search at one point in time.

    Args:
        epoch: The epoch, from 1.
        step: Weight steps so far in this epoch.
        steps: Weight steps of the whole epoch; 0 if not known.
        warmup: Whether the epoch belongs to the warm-up (the logits do not learn).
        loss: Mean loss of the weight steps since the previous point.
        arch_loss: Mean loss of the architecture steps since the previous point.
        valid_loss: Validation loss of the most probable architecture, at the end of an
            epoch.
        temperature: Temperature of the estimator, if it has one.
        cost: Expected cost in units of its kind, if known.
        cost_argmax: Cost of the most probable architecture.
        seconds: Wall time since the start of the epoch.
        probabilities: pi of every choice, in order.
    """

    epoch: int
    step: int
    steps: int
    warmup: bool
    loss: Optional[float] = None
    arch_loss: Optional[float] = None
    valid_loss: Optional[float] = None
    temperature: Optional[float] = None
    cost: Optional[float] = None
    cost_argmax: Optional[float] = None
    seconds: Optional[float] = None
    probabilities: tuple[tuple[float, ...], ...] = ()

    @property
    def at(self) -> float:
        """The time of the point, in epochs since the start of the search."""
        return self.epoch - 1 + self.step / max(self.steps, 1)


def start_epoch(output_dir: PathLike, epoch: int) -> None:
    """Start the file of an epoch.

    Args:
        output_dir: Output directory of the search.
        epoch: The epoch. Existing files of this and of later epochs come from a run
            that was stopped; they are removed.
    """
    directory = Path(output_dir) / CURVES
    for number, path in _files(directory):
        if number >= epoch:
            path.unlink()
    write_text(directory / f"{epoch}epoch.jsonl", "")


def write_point(output_dir: PathLike, point: CurvePoint) -> None:
    """Append a point to the file of its epoch."""
    values = {k: _plain(v) for k, v in asdict(point).items() if v not in (None, ())}
    path = Path(output_dir) / CURVES / f"{point.epoch}epoch.jsonl"
    with writing(path), open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def _plain(value: Any) -> Any:
    """Convert a value for JSON: NaN and infinity become null, pi are rounded."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, tuple):
        return [[round(p, 6) for p in pi] for pi in value]
    return value


def read_curves(output_dir: PathLike) -> list[CurvePoint]:
    """Return all points of a search in order, also while it runs.

    Args:
        output_dir: Output directory of the search.

    Returns:
        The points; none if there are no such files. Incomplete or damaged lines are
        skipped.
    """
    found = []
    for epoch, path in _files(Path(output_dir) / CURVES):
        points = [m for m in _points(path) if m.epoch == epoch]
        longest = max((m.step for m in points), default=0)
        # ESPnet's iterator did not know its length.
        found += [m if m.steps else replace(m, steps=longest) for m in points]
    return found


def read_epoch(output_dir: PathLike, epoch: int) -> list[CurvePoint]:
    """Return the points of one epoch in order; none if the file does not exist.

    Args:
        output_dir: Output directory of the search.
        epoch: The epoch.
    """
    path = Path(output_dir) / CURVES / f"{epoch}epoch.jsonl"
    return [point for point in _points(path) if point.epoch == epoch]


def points_of(history: Sequence[Architecture]) -> list[CurvePoint]:
    """Build points from architecture files; they contain only probabilities.

    Args:
        history: The architectures of all epochs, in order.
    """
    return [
        CurvePoint(
            epoch=a.provenance.epoch or 0,
            step=1,
            steps=1,
            warmup=a.provenance.in_warmup,
            probabilities=tuple(
                tuple(pi.values()) for pi in a.provenance.probabilities
            ),
        )
        for a in history
    ]


def _files(directory: Path) -> list[tuple[int, Path]]:
    matches = (
        (re.fullmatch(r"(\d{1,9})epoch\.jsonl", path.name), path)
        for path in directory.glob("*epoch.jsonl")
    )
    return sorted((int(match[1]), path) for match, path in matches if match)


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            # The line is being written, or a crash cut it off.
            continue
        if isinstance(values, dict):
            yield values


_NUMBERS = (
    *("loss", "arch_loss", "valid_loss", "temperature", "cost", "cost_argmax"),
    "seconds",
)


def _points(path: Path) -> Iterable[CurvePoint]:
    names = {field.name for field in fields(CurvePoint)}
    for values in _lines(path):
        if set(values) <= names and _is_point(values):
            pi = tuple(map(tuple, values.pop("probabilities", ())))
            yield CurvePoint(**values, probabilities=pi)


def _is_point(values: dict[str, Any]) -> bool:
    whole = all(_is_count(values.get(k)) for k in ("epoch", "step", "steps"))
    numbers = all(_is_number(values[k]) for k in _NUMBERS if values.get(k) is not None)
    pis = values.get("probabilities", [])
    return (
        whole
        and numbers
        and type(values.get("warmup")) is bool
        and isinstance(pis, list)
        and all(isinstance(pi, list) and all(map(_is_share, pi)) for pi in pis)
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 10**9


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e30


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def note_run(output_dir: PathLike, **facts: Any) -> None:
    """Append a description of this start to ``runs.jsonl`` in the output directory.

    Args:
        output_dir: Output directory of the search.
        facts: Facts about this start, as plain values.
    """
    path = Path(output_dir) / RUNS
    lines = [json.dumps(run) for run in read_runs(output_dir)]
    write_text(path, "\n".join([*lines, json.dumps(facts)]) + "\n")


def read_runs(output_dir: PathLike) -> list[dict[str, Any]]:
    """Return the descriptions of all starts of a search, in order."""
    return list(_lines(Path(output_dir) / RUNS))
