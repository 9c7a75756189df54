"""The table of benchmarks/gain.py, on made-up runs."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def gain(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("gain")


def experiment(root: Path, **rates: float) -> Path:
    for name, rate in rates.items():
        place = root / name if name == "derived" else root / "baselines" / name
        (place / "decode_test").mkdir(parents=True)
        (place / "decode_test" / "score.yaml").write_text(f"wer: {rate}\ncer: 0.0\n")
    (root / "baselines" / "unfinished").mkdir()
    return root


def test_table(gain, tmp_path):
    one = experiment(
        tmp_path / "1",
        derived=4.0,
        random1=8.0,
        random2=6.0,
        all_C1D1=9.0,
        conformer=7.0,
    )
    two = experiment(tmp_path / "2", derived=6.0, random1=10.0, conformer=10.0)
    runs = [("tdnn", gain.word_error_rates(one)), ("tdnn", gain.word_error_rates(two))]
    runs.append(("tdnn_wide", {"random1": 3.0}))
    assert gain.rows(gain.gather(runs)) == [
        ("tdnn_wide: at random", 1, "3.00", "-", "3.00", "3.00"),
        ("tdnn: searched", 2, "5.00", "1.41", "4.00", "6.00"),
        ("tdnn: at random", 3, "8.00", "2.00", "6.00", "10.00"),
        ("ESPnet's conformer", 2, "8.50", "2.12", "7.00", "10.00"),
        ("by hand: all_C1D1", 1, "9.00", "-", "9.00", "9.00"),
    ]


def test_nothing_is_trained_twice(gain):
    spaces = ["tdnn", "tdnn_wide", "hybrid"]
    assert [gain.baselines(space, spaces) for space in spaces] == [
        "random,hand,espnet",
        "random",
        "random,hand",
    ]
    assert gain.baselines("tdnn_wide", spaces, ["hand", "espnet"]) == "false"


def test_the_recipe_gets_its_options_and_failures_are_said(gain, tmp_path, monkeypatch):
    recipe = tmp_path / "run.sh"
    recipe.write_text('#!/bin/sh\necho "$*"\nexit 3\n')
    recipe.chmod(0o755)
    monkeypatch.setattr(gain, "RECIPE", recipe)
    with pytest.raises(SystemExit, match="error: the recipe failed; see .*_0.log"):
        gain.main(["--work", str(tmp_path / "work"), "--spaces", "hybrid"])
    (log,) = (tmp_path / "work").glob("*.log")
    text = log.read_text()
    for option in ("--space hybrid", "--seed 0", "--num_random 10"):
        assert option in text
    assert "--baselines random,hand,espnet" in text
    assert "--fsdd_dir" not in text
