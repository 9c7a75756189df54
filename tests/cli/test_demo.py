"""The digits recipe, started by `stnas demo`; the recipe has tests of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_stnas.cli import demo
from espnet_stnas.cli.main import main as stnas

RECIPE = Path(__file__).parents[2] / "egs2" / "digits" / "asr_stnas1"


@pytest.fixture
def started(monkeypatch) -> list[list[str]]:
    """The programs that the process would become."""
    found: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, words: found.append(words))
    return found


def test_a_copy_of_the_recipe_runs(tmp_path, started):
    target = tmp_path / "demo"
    stnas(["demo", "--dir", str(target), "--corpus", "fsdd", "--seed", "3"])
    options = ["--python", sys.executable, "--corpus", "fsdd", "--seed", "3"]
    assert started == [["bash", str(target / "run.sh"), *options]]
    copied = {p.relative_to(target) for p in target.rglob("*") if p.is_file()}
    assert Path("conf/search.yaml") in copied and Path("local/watch.py") in copied
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=RECIPE, capture_output=True, text=True
    )
    if tracked.returncode == 0:
        assert copied == set(map(Path, tracked.stdout.splitlines()))
    # Called again, it keeps what the user has changed.
    (target / "conf" / "search.yaml").write_text("changed")
    stnas(["demo", "--dir", str(target)])
    assert (target / "conf" / "search.yaml").read_text() == "changed"
    assert len(started) == 2


def test_a_copy_does_not_depend_on_where_it_is(tmp_path):
    demo.copy_recipe(tmp_path / "a" / "b")
    done = subprocess.run(
        ["bash", str(tmp_path / "a" / "b" / "run.sh"), "--stage", "x"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "--stage is 'x'; accepted is" in done.stderr


def test_another_directory_is_not_touched(tmp_path, started):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(SystemExit, match="has files, but no copy of the recipe"):
        stnas(["demo", "--dir", str(tmp_path)])
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"] and not started


def test_what_is_missing_is_named(tmp_path, started, monkeypatch):
    monkeypatch.setattr(demo, "_NEEDS", ("jiwer", "no_such_package"))
    with pytest.raises(SystemExit, match="no_such_package cannot be .* pip install"):
        stnas(["demo", "--dir", str(tmp_path / "demo")])
    assert not started and not (tmp_path / "demo").exists()


def test_other_commands_refuse_unknown_options(capsys):
    with pytest.raises(SystemExit) as ended:
        stnas(["doctor", "--corpus", "fsdd"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --corpus fsdd" in capsys.readouterr().err
