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


def test_tables(gain, tmp_path, monkeypatch):
    first = experiment(
        tmp_path / "1",
        derived=4.0,
        random1=8.0,
        random2=6.0,
        all_C1D1=9.0,
        conformer=7.0,
    )
    second = experiment(tmp_path / "2", derived=9.5, random1=10.0, conformer=10.0)
    sizes = {"derived": 2000, "random1": 1000, "random2": 3000}
    monkeypatch.setattr(gain, "count_parameters", lambda path: sizes.get(path.name))
    runs = [
        gain.Run("tdnn", seed, gain.trained_encoders(exp))
        for seed, exp in enumerate((first, second))
    ]
    wide = {"derived": gain.Trained(2.0, None), "random1": gain.Trained(1.0, None)}
    runs.append(gain.Run("tdnn_wide", 0, wide))
    assert gain.rows_of_kinds(runs) == [
        ("tdnn_wide: at random", 1, "1.00", "-", "1.00", "1.00", ""),
        ("tdnn_wide: searched", 1, "2.00", "-", "2.00", "2.00", ""),
        ("tdnn: searched", 2, "6.75", "3.89", "4.00", "9.50", "2,000"),
        ("tdnn: at random", 3, "8.00", "2.00", "6.00", "10.00", "1,000 to 3,000"),
        ("ESPnet's conformer", 2, "8.50", "2.12", "7.00", "10.00", ""),
        ("by hand: all_C1D1", 1, "9.00", "-", "9.00", "9.00", ""),
    ]
    assert gain.rows_of_seeds(runs) == [
        ("tdnn", 0, "4.00", "7.00", "1.41", "0 of 2"),
        ("tdnn", 1, "9.50", "10.00", "-", "0 of 1"),
        ("tdnn_wide", 0, "2.00", "1.00", "-", "1 of 1"),
    ]


def test_another_budget_is_elsewhere(gain, tmp_path):
    experiment(tmp_path, derived=4.0, random1=8.0)
    for name in ("derived", "baselines"):
        (tmp_path / name).rename(tmp_path / f"{name}_params80")
    found = gain.trained_encoders(tmp_path, budget="params=80%")
    assert {name: one.wer for name, one in found.items()} == {
        "derived": 4.0,
        "random1": 8.0,
    }


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
