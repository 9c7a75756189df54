"""The table of trained encoders: errors, sizes, time and speed. No torch."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from espnet_stnas.report.trainings import TestResult, Training

_HEADER = (
    *("training", "encoder", "parameters of encoder", "of model", "test set"),
    *("WER %", "CER %", "training s", "real-time factor"),
)


def markdown(trainings: Sequence[Training]) -> str:
    """Return the table in Markdown, aligned for a terminal, without empty columns.

    Trainings with names like random1, random2 are also summarised as mean and spread.

    Args:
        trainings: Trained encoders; each test set gets a row.
    """
    rows = [_row(t, score) for t in trainings for score in t.scores or (None,)]
    rows += _spreads(trainings)
    return aligned(_HEADER, rows, words=(0, 1, 4))


def aligned(
    header: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[int]
) -> str:
    """Return an aligned Markdown table without empty columns.

    Args:
        header: Names of the columns.
        rows: Cells.
        words: Indices of the columns that are aligned to the left.
    """
    # A pipe would end the cell.
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    kept = [i for i in range(len(header)) if not rows or any(r[i] for r in rows)]
    widths = {i: max(4, *(len(row[i]) for row in [header, *cells])) for i in kept}
    rule = [
        "-" * widths[i] if i in words else "-" * (widths[i] - 1) + ":" for i in kept
    ]
    lines = [
        [
            row[i].ljust(widths[i]) if i in words else row[i].rjust(widths[i])
            for i in kept
        ]
        for row in [header, *cells]
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in [lines[0], rule, *lines[1:]])


def training_data(training: Training) -> dict[str, Any]:
    """Return the values of one training for programs (JSON)."""
    sizes = training.sizes
    return {
        "name": training.name,
        "path": str(training.path),
        "encoder": training.encoder,
        "encoder_parameters": None if sizes is None else sizes.encoder,
        "model_parameters": None if sizes is None else sizes.model,
        "training_seconds": training.seconds,
        "real_time_factor": training.rtf,
        "scores": [
            {"test": s.test, "wer": s.wer, "cer": s.cer} for s in training.scores
        ],
    }


def _row(training: Training, score: Optional[TestResult]) -> list[str]:
    sizes = training.sizes
    return [
        training.name,
        training.encoder,
        "" if sizes is None else f"{sizes.encoder:,}",
        "" if sizes is None else f"{sizes.model:,}",
        "not scored" if score is None else score.test,
        _number(None if score is None else score.wer, ".2f"),
        _number(None if score is None else score.cer, ".2f"),
        _number(training.seconds, ".0f"),
        _number(training.rtf, ".4f"),
    ]


def _number(value: Optional[float], form: str) -> str:
    return "" if value is None else format(value, form)


def _spreads(trainings: Sequence[Training]) -> Iterator[list[str]]:
    """Yield mean and standard deviation of random architectures per test set."""
    drawn: dict[str, list[TestResult]] = {}
    for training in trainings:
        if re.fullmatch(r"(.*/)?random\d+", training.name):
            for score in training.scores:
                drawn.setdefault(score.test, []).append(score)
    for test, scores in drawn.items():
        if len(scores) > 1:
            name = f"mean ± sd of {len(scores)} random"
            rates = [_spread([getattr(s, k) for s in scores]) for k in ("wer", "cer")]
            yield [name, "", "", "", test, *rates, "", ""]


def _spread(values: Sequence[Optional[float]]) -> str:
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return ""
    return f"{statistics.mean(known):.2f} ± {statistics.stdev(known):.2f}"
