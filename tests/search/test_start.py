"""What a search does in a directory that was used before, and after interruptions.

A start either goes on, or replaces what is there, or is refused and changes nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kills import results
from benchmarks.processes import finish, start
from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.host.lock import LOCK, locked
from espnet_stnas.report.summary import summarise
from espnet_stnas.results.curves import read_curves, read_runs
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.search import program
from espnet_stnas.search.start import clear
from tests.fuzz.inputs import fuzz
from tests.search.conftest import CHOICE, command, derive, search_config

BASE = {"max_epoch": 2, "warmup_epochs": 0, "batch_size": 12, "arch_data": "valid"}
SPACE = {"width": 6, "layers": ["tdnn-C1S3D1", CHOICE, CHOICE[::2]]}


def search(corpus: Path, exp: Path, resume: bool = True, **changes: object) -> None:
    config = search_config(**{**BASE, **changes})
    options = command(corpus, exp, config, "--resume", str(resume).lower())
    program.main(options)


def contents(exp: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in exp.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory) -> Path:
    """A search of two epochs with a report and what an older ESPnet left."""
    exp = tmp_path_factory.mktemp("finished") / "exp"
    search(corpus, exp)
    (exp / "report").mkdir()
    (exp / "report" / "report.html").write_text("old")
    (exp / "images").mkdir()
    (exp / "images" / "probabilities.png").write_text("old")
    (exp / "notes.txt").write_text("of a user")
    return exp


@pytest.fixture
def exp(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "exp", symlinks=True))


def other_data(corpus: Path, root: Path) -> list[str]:
    """The options of a corpus with one utterance less, under another name."""
    shape = root / "shape"
    lines = (corpus / "train" / "shape").read_text().splitlines()
    shape.write_text("\n".join(lines[1:]) + "\n")
    return [str(shape)]


REFUSED = {
    "fewer epochs": ({"max_epoch": 1}, "max_epoch is 1, but .* has a search of 2 epo"),
    "seed": ({"seed": 5}, "seed is 5, and was 0 in the search of .*exp, which would"),
    "estimator": ({"estimator": "snas"}, "estimator is 'snas', and was 'st' in the"),
    "its options": (
        {"estimator_conf": {"subgraph_size": 2}},
        "estimator_conf is {'subgraph_size': 2}, and was {} in the search",
    ),
    "cost": (
        {"cost_conf": {"kind": "params", "weight": 0.1}},
        "cost_conf is {'kind': 'params', 'weight': 0.1}, and was {} in",
    ),
    "learning rate": (
        {"optim2_conf": {"lr": 0.1}},
        "optim2_conf is {'lr': 0.1}, and was {'lr': 0.05} in",
    ),
    "warm-up": ({"warmup_epochs": 1}, "warmup_epochs is 1, and was 0 in the search"),
    "space": ({"encoder_conf": SPACE}, "holds a search of another space"),
    "joint": ({"arch_data": "joint"}, "arch_data is 'joint', and was 'valid' in the"),
    "preparation": ({"dry_run": True}, "holds a search, whose config.yaml collect_st"),
}


@pytest.mark.parametrize("change", REFUSED)
def test_another_search_does_not_go_on_from_the_checkpoint(corpus, exp, change):
    changes, message = REFUSED[change]
    before = contents(exp)
    with pytest.raises(SystemExit, match=f"^error: .*{message}") as caught:
        search(corpus, exp, **changes)
    assert "\n" not in str(caught.value)
    assert contents(exp) == before


def test_other_data_under_the_same_name(corpus, exp, tmp_path):
    before = contents(exp)
    config = search_config(**BASE)
    options = command(corpus, exp, config)
    place = options.index("--train_shape_file") + 1
    copy = tmp_path / "copy"
    copy.write_bytes(Path(options[place]).read_bytes())
    options[place] = str(copy)
    program.main(options)  # the same contents, elsewhere
    before = contents(exp)
    copy.write_text("".join(copy.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(SystemExit, match="train_shape_file .* has other contents than"):
        program.main(options)
    assert contents(exp) == before


def test_wrong_weights_to_begin_with_change_nothing(corpus, exp, tmp_path):
    """ESPnet reads them after it has overwritten config.yaml."""
    torch.save({"ctc.ctc_lo.bias": torch.zeros(3)}, tmp_path / "w.pth")
    before = contents(exp)
    with pytest.raises(SystemExit, match="the model with init_param '.*w.pth' cannot"):
        search(corpus, exp, resume=False, init_param=[str(tmp_path / "w.pth")])
    assert contents(exp) == before


def test_a_training_that_is_no_search_is_not_replaced(corpus, exp):
    shutil.rmtree(exp / "architectures")
    before = contents(exp)
    with pytest.raises(SystemExit, match="has the checkpoint of a training that is no"):
        search(corpus, exp, resume=False)
    assert contents(exp) == before


def test_no_room_for_a_checkpoint(corpus, exp, monkeypatch):
    usage = shutil.disk_usage(exp)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1))
    before = contents(exp)
    with pytest.raises(
        SystemExit, match="has 0 MB left, and the first checkpoint need"
    ):
        search(corpus, exp, max_epoch=3)
    assert contents(exp) == before


def test_a_shorter_search_in_its_place(corpus, exp, tmp_path, capsys):
    """Nothing of the older one is left: epochs, curves, starts, report, pictures."""
    search(corpus, exp, resume=False, max_epoch=1, seed=3)
    experiment = SearchExperiment.open(exp)
    assert experiment.epochs == (1,)
    assert experiment.architecture().provenance.seed == 3
    assert {point.epoch for point in read_curves(exp)} == {1}
    assert len(read_runs(exp)) == 1
    assert not (exp / "2epoch.pth").exists()
    assert not (exp / "report").exists() and not (exp / "images").exists()
    assert (exp / "notes.txt").read_text() == "of a user"
    weights = tmp_path / "weights.pth"
    derive(str(exp), "--init_output", str(weights))
    assert "exp, epoch 1:" in capsys.readouterr().out


def test_an_epoch_without_a_checkpoint_is_run_again(corpus, exp, tmp_path):
    """A kill between the two files; the search then ends before that epoch."""
    later = exp / "architectures" / "3epoch.yaml"
    text = (exp / "architectures" / "2epoch.yaml").read_text()
    later.write_text(text.replace("epoch: 2", "epoch: 3"))
    options = ["derive", str(exp), "--init_output", str(tmp_path / "weights.pth")]
    with pytest.raises(SystemExit, match="has no weights of epoch 3: neither 3epoch.p"):
        stnas(options)
    search(corpus, exp)
    assert SearchExperiment.open(exp).epochs == (1, 2)
    derive(*options[1:])


_FRESH: dict[str, dict[str, str]] = {}


def fresh(corpus: Path, root: Path, changes: dict) -> dict[str, str]:
    """What a search with these options leaves in a directory of its own."""
    key = json.dumps(changes, sort_keys=True)
    if key not in _FRESH:
        directory = root / f"fresh{len(_FRESH)}"
        search(corpus, directory / "exp", **changes)
        _FRESH[key] = results(directory / "exp")
    return _FRESH[key]


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "max_epoch": st.sampled_from([1, 3]),
        "seed": st.just(3),
        "encoder_conf": st.just(SPACE),
        "arch_data": st.sampled_from(["train", "joint"]),
        "estimator": st.sampled_from(["snas", "uniform"]),
        "optim2_conf": st.just({"lr": 0.1}),
        "num_workers": st.just(0),
    },
)


@fuzz(8)
@given(OPTIONS, st.booleans())
def test_two_runs_in_one_directory(corpus, finished, tmp_path_factory, changes, resume):
    """All is as if only the second had been there, or it is refused."""
    root = tmp_path_factory.mktemp("twice")
    exp = Path(shutil.copytree(finished, root / "exp", symlinks=True))
    for name in ("notes.txt", "report/report.html", "images/probabilities.png"):
        (exp / name).unlink()
    before = contents(exp)
    try:
        search(corpus, exp, resume=resume, **changes)
    except SystemExit as refusal:
        assert resume and str(refusal).startswith("error: ")
        assert contents(exp) == before
    else:
        assert results(exp) == fresh(corpus, root, changes)


class Killed(BaseException):
    """Nothing may catch it."""


@fuzz(8)
@given(st.integers(0, 60), st.booleans())
def test_interrupted_at_any_change_of_a_file(
    corpus, finished, tmp_path_factory, moment, used
):
    """The same command then ends as if nothing had happened."""
    root = tmp_path_factory.mktemp("interrupted")
    if used:  # an older search that the new one replaces
        shutil.copytree(finished, root / "exp", symlinks=True)
        (root / "exp" / "notes.txt").unlink()
    calls = 0

    def interrupted(function):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls > moment:
                raise Killed
            return function(*args, **kwargs)

        return call

    changes = {"seed": 3}
    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(os, "replace", interrupted(os.replace))
        for name in ("unlink", "symlink_to"):
            patch.setattr(Path, name, interrupted(getattr(Path, name)))
        search(corpus, root / "exp", resume=not used, **changes)
    (root / "exp" / LOCK).unlink(missing_ok=True)
    # A start that replaces has not begun if the old checkpoint is still there.
    states = root / "exp" / "checkpoint.pth"
    older = used and states.exists() and read_runs(root / "exp") == read_runs(finished)
    search(corpus, root / "exp", resume=not older, **changes)
    assert results(root / "exp") == fresh(corpus, root, changes)


def test_clearing_begins_with_the_checkpoint(exp, monkeypatch):
    """So that a half-cleared search is never gone on with."""
    gone = []
    unlink = Path.unlink
    monkeypatch.setattr(
        Path, "unlink", lambda self, **kw: gone.append(self.name) or unlink(self, **kw)
    )
    clear(exp)
    assert gone[0] == "checkpoint.pth"


def test_a_directory_in_use(corpus, exp):
    before = contents(exp)
    with locked(exp, "evaluation"):
        for resume in (True, False):
            with pytest.raises(SystemExit, match="exp is in use by the evaluation of"):
                search(corpus, exp, resume=resume)
    assert contents(exp) == before
    search(corpus, exp)


@pytest.mark.slow
def test_two_searches_at_once(corpus, tmp_path):
    """One of them runs, alone; the other is told so."""
    exp = tmp_path / "exp"
    options = command(corpus, exp, search_config(**BASE))
    logs = [tmp_path / f"{n}.log" for n in range(2)]
    module = "espnet_stnas.search.program"
    both = [
        start("benchmarks.processes:run_main", log, module, options) for log in logs
    ]
    failed = []
    for process, log in zip(both, logs, strict=True):
        try:
            finish(process, log)
        except RuntimeError as error:
            failed.append(str(error).strip().splitlines()[-1])
    assert [
        text for text in failed if "is in use by the search of pro" in text
    ] == failed
    if len(failed) == 1:
        assert len(read_runs(exp)) == 1
    assert len(failed) < 2
    assert results(exp) == fresh(corpus, tmp_path, {})


@pytest.fixture
def train(finished, tmp_path):
    """A retraining of what the search found, by espnet_stnas.run."""
    from espnet_stnas import run

    template = tmp_path / "template.yaml"
    config = search_config(max_epoch=2, batch_size=12)
    for key in ("optim2", "optim2_conf", "warmup_epochs", "arch_fraction"):
        del config[key]
    template.write_text(yaml.safe_dump(config))
    derived = tmp_path / "train.yaml"
    derive(
        *(str(finished), "--train_config", str(template)),
        *("--train_output", str(derived)),
    )

    def call(corpus, exp, *options, **changes):
        config = {**yaml.safe_load(derived.read_text()), **changes}
        argv = command(corpus, exp, config, *options)
        run.main(["-m", "espnet2.bin.asr_train", *argv])

    return call


@pytest.fixture
def as_a_program(monkeypatch):
    """ESPnet's main reads the command line of the process."""
    monkeypatch.setattr("sys.argv", list(os.sys.argv))


def test_retrainings(corpus, train, as_a_program, exp, tmp_path):
    place = tmp_path / "trained"
    train(corpus, place)
    assert (place / "2epoch.pth").exists() and not (place / LOCK).exists()
    before = contents(place)
    with (
        locked(place, "search"),
        pytest.raises(SystemExit, match="trained is in use by the search of process"),
    ):
        train(corpus, place)
    other = {"width": 6, "layers": ["tdnn-C1S3D1", "tdnn-C2D2", "tdnn-C1D1"]}
    with pytest.raises(SystemExit, match="has the weights of another architecture th"):
        train(corpus, place, encoder_conf=other)
    (place / "checkpoint.pth").write_bytes(before[place / "checkpoint.pth"][:-9])
    with pytest.raises(SystemExit, match="checkpoint.pth is damaged; remove it to sta"):
        train(corpus, place)
    (place / "checkpoint.pth").write_bytes(before[place / "checkpoint.pth"])
    assert contents(place) == before
    train(corpus, place, "--resume", "false", "--max_epoch", "1", encoder_conf=other)
    assert not (place / "2epoch.pth").exists()
    before = contents(exp)
    with pytest.raises(SystemExit, match="exp holds a search; choose another output_"):
        train(corpus, exp, "--resume", "false")
    assert contents(exp) == before


def test_failure_is_told_by_derive_until_forced(exp, tmp_path, capsys):
    (exp / "failed.yaml").write_text("{epoch: 2, reason: all steps were skipped}")
    options = ["derive", str(exp), "--output", str(tmp_path / "arch.yaml")]
    message = "exp failed: all steps were skipped; --force derives from the epochs tha"
    with pytest.raises(SystemExit, match=f"^error: the search in .*{message}"):
        stnas(options)
    assert not (tmp_path / "arch.yaml").exists()
    assert summarise(exp).status == "failed after 2 epochs: all steps were skipped"
    derive(*options[1:], "--force")
    assert "exp, epoch 2:" in capsys.readouterr().out
    (exp / "failed.yaml").write_text("[")
    with pytest.raises(SystemExit, match="failed.yaml is damaged, so the reason is no"):
        stnas(options)


def test_a_failed_search_is_refused_until_it_has_epochs_left(corpus, exp):
    (exp / "failed.yaml").write_text("{epoch: 2, reason: the logits never moved}")
    before = contents(exp)
    with pytest.raises(SystemExit, match="failed .the logits never moved., and no epo"):
        search(corpus, exp)
    assert contents(exp) == before
    search(corpus, exp, max_epoch=3)
    assert SearchExperiment.failure_in(exp) is None


def test_nothing_is_held_after_a_refusal(corpus, tmp_path):
    with pytest.raises(SystemExit, match="the model of these options cannot be built"):
        search(corpus, tmp_path / "a" / "exp", model_conf={})
    assert not (tmp_path / "a" / "exp").exists()
    with pytest.raises(ConfigError, match="does not exist"):
        SearchExperiment.open(tmp_path / "a" / "exp")
