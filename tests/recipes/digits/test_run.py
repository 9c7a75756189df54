"""run.sh of the digits; shell only: a stand-in takes the place of Python's programs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[3] / "egs2" / "digits" / "asr_stnas1"
# Writes down how it was called, says what a log says, and leaves files behind.
STAND_IN = f"""#!/usr/bin/env bash
case $1 in
    local/watch.py) exec {sys.executable} "$@" ;;
esac
echo "$*" >> calls
data= key_file=
while [ $# -gt 0 ]; do
    case $1 in
        --data) data=$2 ;;
        --key_file) key_file=$2 ;;
        --output_dir) mkdir -p "$2"; directory=$2 ;;
        --output|--train_output) mkdir -p "$(dirname "$2")"; touch "$2" ;;
    esac
    shift
done
if [ -n "${{data}}" ] && [ ! -e "${{data}}" ]; then
    for name in train dev test; do
        mkdir -p "${{data}}/${{name}}"
        for number in 1 2 3; do
            echo "u${{number}} u${{number}}.wav" >> "${{data}}/${{name}}/wav.scp"
            echo "u${{number}} one" >> "${{data}}/${{name}}/text"
        done
    done
elif [ -n "${{key_file}}" ]; then
    mkdir -p "${{directory}}/1best_recog"
    while read -r name _; do
        echo "INFO: best hypo: one"
        echo "${{name}} one" >> "${{directory}}/1best_recog/text"
    done < "${{key_file}}"
fi
echo "1/1epoch started"
echo "1epoch results: [train] loss=2.5, [valid] loss=1.5, total_count=7"
[ ! -e slow ] || sleep 60
[ ! -e fail ]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A copy of the recipe, with a stand-in for Python."""
    folder = tmp_path / "egs2" / "digits" / "asr_stnas1"
    shutil.copytree(RECIPE, folder, ignore=shutil.ignore_patterns("exp*", "data*"))
    (folder / "stand_in").write_text(STAND_IN)
    (folder / "stand_in").chmod(0o755)
    return folder


def command(folder: Path, options: Sequence[str]) -> list[str]:
    return [str(folder / "run.sh"), "--python", "./stand_in", *options]


def run(folder: Path, *options: str) -> tuple[int, str]:
    """Exit code and output."""
    found = subprocess.run(
        command(folder, options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return found.returncode, found.stdout


def calls(folder: Path) -> list[str]:
    path = folder / "calls"
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text.splitlines()


def test_another_seed_is_another_directory_with_the_same_data(recipe: Path) -> None:
    options = ("--stop_stage", "7")
    assert run(recipe, *options)[0] == 0
    first = "\n".join(calls(recipe))
    assert "--data data_tts_clean --data_seed 0" in first
    assert "--output_dir exp_tts_clean/search" in first
    assert run(recipe, *options, "--seed", "1")[0] == 0
    second = "\n".join(calls(recipe))
    # As many programs as the first time, on the same data.
    assert len(second.splitlines()) == len(first.splitlines())
    assert "--data data_tts_clean --data_seed 0" in second
    assert "--output_dir exp_tts_clean_seed1/search" in second
    assert "exp_tts_clean/" not in second
    assert "--seed 1" in second and "--seed 1" not in first
    other = ("--data_seed", "2", "--space", "hybrid", "--stop_stage", "2")
    assert run(recipe, *other)[0] == 0
    third = "\n".join(calls(recipe))
    assert "--data data_tts_clean_seed2 --data_seed 2" in third
    assert "--output_dir exp_tts_clean_hybrid_data2/stats" in third


@pytest.mark.parametrize("name", ["seed", "data_seed"])
def test_seeds_are_checked_first(recipe: Path, name: str) -> None:
    code, text = run(recipe, f"--{name}", "-1")
    assert code == 1
    assert f"--{name} is '-1'; accepted is an integer from 0 to 999999999" in text
    assert calls(recipe) == []


def test_a_budget_selects_and_none_derives(recipe: Path) -> None:
    stage = ("--stop_stage", "4")
    assert run(recipe, *stage)[0] == 0
    (chosen,) = (c for c in calls(recipe) if " select " in c)
    assert "select exp_tts_clean/search --max params=85% --output" in chosen
    assert "--output exp_tts_clean/architecture.yaml" in chosen
    assert "--train_output exp_tts_clean/derived.yaml" in chosen
    assert run(recipe, *stage, "--budget", "none")[0] == 0
    found = calls(recipe)
    (chosen,) = (c for c in found if " derive " in c)
    assert "--output exp_tts_clean/architecture_none.yaml" in chosen
    assert "--output exp_tts_clean/report_none" in "\n".join(found)
    assert not any(" select " in c for c in found)
    code, text = run(recipe, "--budget", "85%")
    assert code == 1 and "--budget is '85%'; accepted are params=... and ma" in text
    assert calls(recipe) == []


def test_baselines_get_the_budget(recipe: Path) -> None:
    options = ("--stage", "8", "--baselines")
    assert run(recipe, "--stop_stage", "2")[0] == 0
    calls(recipe)
    run(recipe, *options, "random,hand", "--space", "conformer")
    (made,) = (c for c in calls(recipe) if " baselines " in c)
    assert "--largest --max params=85% --random 3" in made
    assert "--output exp_tts_clean_conformer/baselines" in made
    run(recipe, *options, "random", "--budget", "params=100k")
    (made,) = (c for c in calls(recipe) if " baselines " in c)
    assert "--max params=100k --random 3" in made and "--largest" not in made
    assert "--output exp_tts_clean/baselines_params100k" in made
    run(recipe, *options, "hand", "--budget", "none")
    (made,) = (c for c in calls(recipe) if " baselines " in c)
    assert "--max" not in made and "--largest" in made


@pytest.mark.parametrize("value", ["99999999999999999999", "two", ""])
def test_stages_are_numbers(recipe: Path, value: str) -> None:
    code, text = run(recipe, "--stage", value)
    assert code == 1
    last = text.splitlines()[-1]
    assert last.startswith(f"run.sh: error: --stage is '{value}'; accepted is an integ")
    assert calls(recipe) == []


def test_losses_and_decodings_are_shown_and_work_is_not_repeated(recipe: Path) -> None:
    code, text = run(recipe, "--stop_stage", "6")
    assert code == 0
    assert text.count("epoch 1/1: loss 2.5, on dev loss 1.5\n") >= 2
    assert "decoded 1 of 3 utterances" in text
    decoded = (recipe / "exp_tts_clean/derived/decode_test/text").read_text()
    assert decoded == "u1 one\nu2 one\nu3 one\n"
    trainings = [c for c in calls(recipe) if "--config" in c]
    assert len(trainings) == 5  # statistics, search, training, two of decoding
    assert run(recipe, "--stop_stage", "6")[0] == 0
    assert [c for c in calls(recipe) if "--config" in c] == []


def test_a_failure_shows_the_end_of_the_log(recipe: Path) -> None:
    assert run(recipe, "--stop_stage", "2")[0] == 0
    (recipe / "fail").touch()
    code, text = run(recipe, "--stage", "3", "--stop_stage", "3")
    assert code == 1
    assert "total_count=7" in text
    assert "all of its output is in exp_tts_clean/search/train.log" in text
    assert not (recipe / "exp_tts_clean/search/.done").exists()
    # Time of what failed counts, too.
    (recipe / "fail").unlink()
    assert run(recipe, "--stage", "3", "--stop_stage", "3")[0] == 0
    assert (recipe / "exp_tts_clean/search/.done").exists()
    seconds = recipe / "exp_tts_clean" / "search" / "train_seconds"
    assert len(seconds.read_text().split()) == 2


def interrupted(recipe: Path, stage: str, sign: Path, end: int) -> tuple[int, str]:
    """Run a stage whose programs take a minute; end all of it after two seconds."""
    (recipe / "slow").touch()
    process = subprocess.Popen(
        command(recipe, ("--stage", stage, "--stop_stage", stage)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Where the tests run in the background, it would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (sign.exists() and sign.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(2)
    with open(sign, "a") as file:
        file.write("the last sign of life\n")
    os.killpg(process.pid, end)
    text, _ = process.communicate(timeout=30)
    (recipe / "slow").unlink()
    deadline = time.monotonic() + 20
    while left := living(process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    return process.returncode, text


def living(group: int) -> list[str]:
    """The processes of a group that have not ended."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            state, _, its_group, *_ = file.read_text().rsplit(")", 1)[1].split()
            if its_group == str(group) and state != "Z":
                found.append(file.with_name("cmdline").read_text())
    return found


def test_ctrl_c_says_how_to_go_on_and_its_time_counts(recipe: Path) -> None:
    assert run(recipe, "--stop_stage", "2")[0] == 0
    search = recipe / "exp_tts_clean" / "search"
    code, text = interrupted(recipe, "3", search / "train.log", signal.SIGINT)
    assert code == 130
    assert "stopped in stage 3; the same command goes on where this one stopped" in text
    assert "this failed" not in text
    code, text = interrupted(recipe, "3", search / "train.log", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert run(recipe, "--stage", "3", "--stop_stage", "3")[0] == 0
    seconds = list(map(int, (search / "train_seconds").read_text().split()))
    assert len(seconds) == 3
    assert all(2 <= part < 60 for part in seconds[:2])


def test_ctrl_c_ends_all_that_decodes(recipe: Path) -> None:
    assert run(recipe, "--stop_stage", "5")[0] == 0
    log = recipe / "exp_tts_clean" / "derived" / "decode_test.log"
    code, text = interrupted(recipe, "6", log, signal.SIGINT)
    assert code == 130
    assert "stopped in stage 6" in text and "this failed" not in text
