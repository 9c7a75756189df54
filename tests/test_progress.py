from __future__ import annotations

import sys

import pytest

from espnet_stnas.progress import Progress


def test_a_line_for_each_tenth(capsys):
    with Progress("rounds", 40, "rounds") as progress:
        for _ in range(40):
            progress.advance()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert (lines[0], lines[-1]) == (
        "rounds: 10% of 40 rounds",
        "rounds: 100% of 40 rounds",
    )


@pytest.mark.parametrize("step", [0.7, 5.0])
def test_more_than_there_is_to_do_is_all(capsys, step):
    with Progress("speech", 2, "min") as progress:
        for _ in range(4):
            progress.advance(step)
    assert capsys.readouterr().err.splitlines()[-1] == "speech: 100% of 2 min"


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("rounds", 4, "rounds") as progress:
        for _ in range(4):
            progress.advance()
        assert progress._bar.n == 4
    shown = capsys.readouterr().err
    assert "rounds:" in shown and "|" in shown
    assert "\n" not in shown
