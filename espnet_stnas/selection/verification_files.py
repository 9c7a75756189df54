"""Table, data and figure of a verification. No torch."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from espnet_stnas.files import write_text
from espnet_stnas.report.drawing import COLOURS, new_figure, save_figure
from espnet_stnas.report.table import aligned
from espnet_stnas.selection.comparison import Interval
from espnet_stnas.selection.outcome import UNITS, Outcome, Row, training_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def outcome_markdown(outcome: Outcome) -> str:
    """Return tables, verdicts and costs in Markdown, aligned for a terminal."""
    parts = []
    for test, rows in outcome.rows.items():
        rate = f"{outcome.metric.upper()} %"
        header = [
            *("encoder", "parameters", "trainings", "epochs", "hours", rate),
            *("95 % interval", "minus random", "95 % interval of it"),
        ]
        cells = [_cells(row) for row in rows]
        parts.append(f"Errors on {test}:\n\n{aligned(header, cells, words=(0,))}")
        parts.append("\n".join(outcome.verdict(test)) + "\n")
    parts.append("\n".join([outcome.costs(), *outcome.notes]) + "\n")
    return "\n".join(parts)


def _cells(row: Row) -> list[str]:
    params = [f"{p:,}" for p in row.params]
    several = f"{params[0]} to {params[-1]}" if len(params) > 1 else "".join(params)
    ended = "" if row.rate is not None else " (ended before)"
    return [
        f"{row.name}{ended}",
        several,
        str(len(row.trainings)),
        str(row.epochs),
        f"{row.hours:.2f}",
        *_texts(row.rate, ".2f"),
        *_texts(row.minus_random, "+.2f"),
    ]


def _texts(value: Optional[Interval], form: str) -> list[str]:
    if value is None:
        return ["", ""]
    return [f"{value.value:{form}}", f"{value.low:{form}} to {value.high:{form}}"]


def outcome_csv(outcome: Outcome) -> str:
    """Return a table with a line for each training."""
    rows = [training_data(t, outcome.tests) for t in outcome.trainings]
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def outcome_figure(outcome: Outcome) -> Figure:
    """Draw the error rate of each group with its interval, a panel for each test set.

    Small points are the architectures of a group, or its seeds.
    """
    count = len(outcome.tests)
    lines = max(sum(r.rate is not None for r in rows) for rows in outcome.rows.values())
    figure = new_figure(6.5, count * (1.0 + 0.35 * lines))
    for place, (test, rows) in enumerate(outcome.rows.items(), start=1):
        axis = figure.add_subplot(count, 1, place)
        shown = [row for row in rows if row.rate is not None]
        for line, row in enumerate(shown):
            assert row.rate is not None
            colour = COLOURS[0] if row.name == outcome.chosen else COLOURS[7]
            ends = [row.rate.low, row.rate.high]
            axis.plot(ends, [line, line], color=colour, linewidth=2)
            if len(row.single) > 1:
                below = [line + 0.2] * len(row.single)
                axis.plot(row.single, below, ".", color=colour, markersize=4)
            axis.plot(row.rate.value, line, "o", color=colour)
        drawn = [row.rate.value for row in shown if row.name == "random" and row.rate]
        for value in drawn:
            axis.axvline(value, color="0.8", linewidth=0.8, zorder=0)
        axis.set_yticks(range(len(shown)), [row.name for row in shown])
        axis.set_ylim(len(shown) - 0.5, -0.5)
        axis.set_xlabel(f"{UNITS[outcome.metric]} on {test} in percent, 95 % intervals")
        axis.grid(axis="x", color="0.9", linewidth=0.6)
    return figure


def write_outcome(outcome: Outcome, directory: Path) -> list[Path]:
    """Write all files.

    Args:
        outcome: The outcome.
        directory: Directory to write to.

    Returns:
        The files.
    """
    files = [directory / f"verification.{end}" for end in ("md", "csv", "json", "png")]
    write_text(files[0], outcome_markdown(outcome))
    write_text(files[1], outcome_csv(outcome))
    write_text(files[2], json.dumps(_finite(outcome.to_dict()), indent=2) + "\n")
    save_figure(outcome_figure(outcome), files[3])
    return files


def _finite(value: Any) -> Any:
    """Replace what JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
