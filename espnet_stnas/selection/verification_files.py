"""Table, data and figure of a verification. No torch."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_stnas.files import write_text
from espnet_stnas.report.drawing import save_figure
from espnet_stnas.report.table import aligned
from espnet_stnas.report.verified import Verified, verified_chart
from espnet_stnas.selection.outcome import Outcome, training_data


def outcome_markdown(outcome: Outcome) -> str:
    """Return tables, verdicts and costs in Markdown, aligned for a terminal."""
    verified = Verified.from_dict(outcome.to_dict())
    parts = []
    for test in verified.tests:
        cells = [group.cells for group in test.groups]
        table = aligned(verified.header, cells, words=(0,))
        parts.append(f"Errors on {test.name}:\n\n{table}")
        parts.append("\n".join(test.verdict) + "\n")
    parts.append("\n".join(verified.remarks) + "\n")
    return "\n".join(parts)


def outcome_csv(outcome: Outcome) -> str:
    """Return a table with a line for each training."""
    rows = [training_data(t, outcome.tests) for t in outcome.trainings]
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


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
    chart = verified_chart(Verified.from_dict(outcome.to_dict()))
    save_figure(chart.figure(), files[3])
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
