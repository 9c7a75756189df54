from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_small_sample():
    """Losses are compared inside; the table has two rows of three numbers."""
    options = ("--paths", "8", "--alone", "3", "--utterances", "2", "--seconds", "1")
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "evaluate.py", *options],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "- 8 of 4096 architectures; a batch of 2 utterances" in done.stdout
    rows = re.findall(
        r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", done.stdout, re.M
    )
    assert [row[0] for row in rows] == ["encoder alone", "whole model"]
    assert all(float(cell) > 0 for row in rows for cell in row[1:])
