"""From a search to a verdict, on a corpus of noise."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
import torch
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.error_rates import error_rates
from espnet_stnas.selection import trainings
from espnet_stnas.selection.progress import read_progress
from espnet_stnas.selection.trainings import Launcher
from tests.search.conftest import search_config

ROOT = Path(__file__).parents[2]
OF_A_SEARCH = (
    *("encoder", "encoder_conf", "optim2", "optim2_conf", "warmup_epochs"),
    "arch_fraction",
)


def training_config(folder: Path, name: str = "retrain.yaml", **changes) -> str:
    config = search_config(max_epoch=3, **changes)
    for key in OF_A_SEARCH:
        if key not in changes:
            del config[key]
    (folder / name).write_text(yaml.safe_dump(config))
    return str(folder / name)


@pytest.fixture
def commands(monkeypatch):
    """Trainings run in this process; all of them, as words."""
    found: list[list[str]] = []

    def call(self, words, log):
        from espnet_stnas.run import main

        found.append(words)
        monkeypatch.setattr(sys, "argv", list(sys.argv))
        main(words[words.index("espnet_stnas.run") + 1 :])
        return 0

    monkeypatch.setattr(Launcher, "_call", call)
    return found


def legs(commands) -> list[tuple[str, int]]:
    """Training and last epoch of each command."""

    def value(words, option):
        return words[words.index(option) + 1]

    return [
        (
            "/".join(Path(value(words, "--output_dir")).parts[-2:]),
            int(value(words, "--max_epoch")),
        )
        for words in commands
    ]


def verify(exp, folder, *options: object) -> None:
    config = () if "--train_config" in options else ("--train_config", "retrain.yaml")
    words = ["verify", exp, *config, "--output", "out", *options]
    stnas([str(word) for word in words])


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    training_config(tmp_path)
    return tmp_path


def test_it_stops_its_trainings_when_it_is_stopped(
    plain_search, folder, monkeypatch, capsys
):
    stopped = []
    before = signal.getsignal(signal.SIGTERM)
    # Once one training runs, the cluster ends the verification.
    monkeypatch.setattr(
        trainings, "as_completed", lambda _: [os.kill(os.getpid(), signal.SIGTERM)]
    )
    monkeypatch.setattr(Launcher, "_train", lambda self, leg: "")
    monkeypatch.setattr(Launcher, "_stop", lambda self: stopped.append(1))
    with pytest.raises(SystemExit) as ended:
        verify(plain_search, folder, "--top", 1, "--by", "probability")
    assert ended.value.code == 130 and stopped == [1]
    assert "the same command goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


def test_from_a_search_to_a_verdict(
    plain_search,
    corpus,
    folder,
    commands,
    capsys,
):
    conformer = {"output_size": 8, "attention_heads": 2, "linear_units": 8}
    conformer |= {"num_blocks": 1, "input_layer": "conv2d2"}
    own = {"encoder": "transformer", "encoder_conf": conformer}
    training_config(folder, "transformer.yaml", **own)
    dev = f"{corpus}/dev/wav.scp,{corpus}/dev/text"
    options = ("--top", 2, "--random", 1, "--by", "probability", "--rate", "ter")
    options += ("--test", f"dev={dev}", "--tolerance", 0.3)
    verify(plain_search, folder, *options)
    first = capsys.readouterr()
    assert "finalists: 2 to epoch 2, 1 to epoch 3; 5 epochs, whole trainings had 6" in (
        first.err
    )
    assert "in all: 8 epochs (seeds 0)" in first.err
    trained = legs(commands)
    (last,) = {name for name, epochs in trained if epochs == 3} - {"random1/seed0"}
    assert trained == [
        *(("finalist1/seed0", 2), ("finalist2/seed0", 2)),
        *((last, 3), ("random1/seed0", 3)),
    ]
    # The one whose best validation loss was lower went on.
    progress = {n: read_progress(folder / "out" / n) for n, _ in trained}
    both = {n: progress[n].best(2) for n in ("finalist1/seed0", "finalist2/seed0")}
    assert min(both, key=both.get) == last
    assert [p.epochs for n, p in progress.items() if "finalist" in n] != [3, 3]
    chosen = last.split("/")[0]
    assert f"{chosen} has" in first.out and "the random architecture has" in first.out

    # Again: nothing is left to train. More: only that is trained.
    commands.clear()
    verify(plain_search, folder, *options)
    assert commands == [] and capsys.readouterr().out == first.out
    more = ("--seeds", 0, 1, "--rungs", 1, "--baselines", "--json")
    more += ("--by_hand", "all=tdnn-C1D2", "--espnet", "transformer.yaml")
    verify(plain_search, folder, *options, *more)
    (ended,) = {"finalist1", "finalist2"} - {chosen}
    new = ("all", "largest", "transformer")
    expected = [f"{name}/seed{seed}" for name in new for seed in (0, 1)]
    expected += [f"{n}/seed1" for n in ("finalist1", "finalist2", "random1")]
    expected.append(f"{ended}/seed0")
    assert sorted(legs(commands)) == sorted((name, 3) for name in expected)
    found = json.loads(capsys.readouterr().out)
    sizes = {row["name"]: row["params"] for row in found["trainings"]}
    assert sizes["largest"] == 684 and sizes["transformer"] > 1000
    groups = found["tests"]["dev"]["groups"]
    assert [row["trainings"] for row in groups] == [2] * 6
    assert {row["name"] for row in groups[:2]} >= {"random"}


def test_halves_are_wholes(plain_search, folder, commands):
    """A training in parts is that in one go."""
    found = []
    for rungs in (3, 1):
        options = ("--top", 1, "--by", "probability", "--rungs", rungs)
        verify(plain_search, folder, *options, "--seeds", 5)
        directory = folder / "out" / "finalist1" / "seed5"
        found.append(read_progress(directory).values)
        shutil.rmtree(folder / "out")
    assert len(commands) == 4 and found[0] == found[1]


def test_errors_are_those_of_the_decoded_text(
    plain_search,
    corpus,
    folder,
    commands,
):
    """Errors by utterance add up to what jiwer counts."""
    from espnet2.tasks.asr import ASRTask

    options = ("--top", 1, "--by", "probability", "--rungs", 1)
    verify(plain_search, folder, *options)
    directory = folder / "out" / "finalist1" / "seed0"
    weights = directory / "valid.loss.ave.pth"
    # Random outputs say more than what was learned of noise.
    states = torch.load(weights, weights_only=True)
    torch.manual_seed(0)
    states["ctc.ctc_lo.weight"].normal_(0, 2)
    weights.unlink()
    torch.save(states, weights)
    verify(plain_search, folder, *options)
    found = json.loads((directory / "greedy_valid.json").read_text())
    model, _ = ASRTask.build_model_from_file(
        str(directory / "config.yaml"), str(weights), "cpu"
    )
    model.eval()
    import soundfile

    lines = []
    for line in (corpus / "dev" / "wav.scp").read_text().splitlines():
        name, wav = line.split()
        speech = torch.from_numpy(soundfile.read(wav, dtype="float32")[0])[None]
        with torch.no_grad():
            encoded, _ = model.encode(speech, torch.tensor([speech.shape[1]]))
            best = model.ctc.argmax(encoded)[0].tolist()
        text = "".join(model.token_list[k] for k, _ in groupby(best) if k)
        lines.append(f"{name} {text.replace('<space>', ' ')}")
    (folder / "text").write_text("\n".join(lines) + "\n")
    expected = error_rates(corpus / "dev" / "text", folder / "text")
    wrong = expected.substitutions + expected.deletions + expected.insertions
    assert sum(found["word_errors"]) == wrong
    assert sum(found["words"]) == expected.words
    assert sum(found["tokens"]) == 3 * expected.words
    row = json.loads((folder / "out" / "verification.json").read_text())
    assert row["trainings"][0]["valid_wer"] == pytest.approx(expected.wer, abs=0.01)
    assert "No random architectures" in row["tests"]["valid"]["verdict"][0]
    assert "also chosen on the validation set" in row["notes"][0]


def test_given_architectures(plain_search, folder, commands, capsys):
    stnas(["select", str(plain_search), "--by", "probability", "--output", "."])
    verify(plain_search, folder, "--arch", "1.yaml", "--rungs", 1)
    found = Architecture.read(folder / "out" / "finalist1" / "architecture.yaml")
    assert found == Architecture.read(folder / "1.yaml")
    config = yaml.safe_load((folder / "out/finalist1/train.yaml").read_text())
    assert config["encoder_conf"] == found.space.to_conf()
    assert config["token_type"] == "char" and "max_epoch" in config
    # Another training of that name is not mixed with this one.
    training_config(folder, optim_conf={"lr": 0.5})
    with pytest.raises(SystemExit) as end:
        verify(plain_search, folder, "--arch", "1.yaml", "--rungs", 1)
    assert re.search("finalist1/seed0 was trained with another encoder", end.value.code)


def search_of(exp: Path, folder: Path) -> Path:
    copy = folder / "copy"
    shutil.copytree(exp, copy)
    return copy


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--top", 13, "--shortlist", 1), "top is 13, but there are only 12"),
        (("--top", 8, "--max", "params=540"), "top is 8, but there are only"),
        (("--rungs", 4), "rungs is 4; with max_epoch 3 and eta 2"),
        (("--eta", 1), "eta is 1"),
        (("--random", 50), "random is 50, but the space has only"),
        (("--nj", 0), "nj is 0"),
        (("--seeds", 1, 1), "seeds are 1 1; accepted are different"),
        (("--test", "x=nothing"), "test is 'x=nothing'; accepted is NAME="),
        (("--test", "x=a,b"), "test x: a does not exist"),
        (("--by_hand", "finalist1=tdnn-C1D2"), "two encoders are named finalist1"),
        (("--by_hand", "a/b=tdnn-C1D2"), "'a/b' cannot be the name of an encoder"),
        (("--train_config", "search.yaml"), "has the key 'warmup_epochs', which"),
        (("--train_config", "endless.yaml"), "max_epoch is None; accepted"),
        (("--train_config", "attention.yaml"), "has ctc_weight 0; accepted"),
        (("--espnet", "missing.yaml"), "missing.yaml does not exist"),
    ],
)
def test_bad_input(plain_search, folder, commands, options, text):
    training_config(folder, "search.yaml", warmup_epochs=1)
    endless = yaml.safe_load((folder / "retrain.yaml").read_text())
    del endless["max_epoch"]
    (folder / "endless.yaml").write_text(yaml.safe_dump(endless))
    training_config(folder, "attention.yaml", model_conf={"ctc_weight": 0.0})
    more = () if "--by" in options else ("--by", "probability")
    if "--top" not in options:
        more += ("--top", 2)
    with pytest.raises(SystemExit) as end:
        verify(plain_search, folder, *options, *more)
    assert end.value.code.startswith("error: ") and text in end.value.code
    assert commands == [] and not (folder / "out").exists()


def test_directories_of_others(plain_search, folder, commands):
    other = search_of(plain_search, folder)
    options = ("--top", 1, "--by", "probability", "--rungs", 1)
    verify(plain_search, folder, *options)
    with pytest.raises(SystemExit, match="out verifies another search, .*plain"):
        verify(other, folder, *options)
    with pytest.raises(SystemExit, match="copy holds a search or a training"):
        verify(plain_search, folder, *options, "--output", other)
    shutil.rmtree(other / "architectures")
    with pytest.raises(SystemExit, match="has not finished an epoch"):
        verify(other, folder, *options, "--output", "new")
    assert len(commands) == 1 and not (folder / "new").exists()


def test_a_failed_training_is_named_and_goes_on(
    plain_search,
    folder,
    monkeypatch,
):
    (folder / "queue.sh").write_text('echo gone > "$1"\nexit 3\n')
    options = ("--top", 1, "--by", "probability", "--cmd", f"bash {folder}/queue.sh")
    with pytest.raises(SystemExit, match=r"finalist1, seed 0 ended .* 3 \(gone\); out"):
        verify(plain_search, folder, *options)
    with pytest.raises(SystemExit, match="nowhere.pl cannot be run .No such file"):
        verify(plain_search, folder, *options[:-1], "nowhere.pl")


@pytest.mark.slow
def test_in_processes_of_their_own(plain_search, folder, capsys):
    """By a command as ESPnet's run.pl, two at a time; it is stopped and goes on."""
    queue = folder / "queue.sh"
    queue.write_text('log=$1; shift; echo "$log" >> calls; exec "$@" > "$log" 2>&1\n')
    words = ["verify", str(plain_search), "--train_config", "retrain.yaml"]
    words += ["--output", "out", "--top", "1", "--random", "1", "--tolerance", "0.3"]
    words += ["--by", "probability", "--nj", "2", "--cmd", f"bash {queue}"]
    run = subprocess.run(
        [sys.executable, "-m", "espnet_stnas", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr
    assert "the random architecture has" in run.stdout
    calls = (folder / "calls").read_text().split()
    assert sorted(calls) == [
        f"out/{name}/seed0/train.3.log" for name in ("finalist1", "random1")
    ]
    stnas([*words, "--json"])
    again = json.loads(capsys.readouterr().out)
    assert (folder / "calls").read_text().split() == calls
    assert again["trainings"][1]["epochs"] == 3
    assert (folder / "out" / "verification.md").exists()
