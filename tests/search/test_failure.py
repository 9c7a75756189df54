"""A search that came to nothing ends with an error, and derive knows."""

from __future__ import annotations

import re

import pytest
import yaml
from torch.multiprocessing import ProcessExitedException

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.search import program
from espnet_stnas.search.epoch import BatchLoss
from espnet_stnas.supernet.steps import LogitLearner
from tests.search.conftest import command, derive, search_config
from tests.search.test_skips import changes_of_loss, spoil


def fails(corpus, exp, **changes) -> str:
    """The sentence of a search that fails; derive refuses with the same."""
    options = command(corpus, exp, search_config(**changes))
    with pytest.raises(SystemExit, match="^error: ") as end:
        program.main(options)
    sentence = str(end.value).removeprefix("error: ")
    assert "\n" not in sentence
    failed = yaml.safe_load((exp / "failed.yaml").read_text())
    assert failed["reason"] == sentence
    with pytest.raises(SystemExit, match=f"exp failed: {re.escape(sentence)}; --force"):
        stnas(["derive", str(exp), "--output", str(exp.parent / "arch.yaml")])
    return sentence


@pytest.mark.parametrize("arch_data", ["train", "joint"])
def test_no_step_of_an_epoch_was_valid(corpus, tmp_path, monkeypatch, arch_data):
    """The limit of skipped steps is larger than the epoch; ESPnet would end well."""
    spoil(monkeypatch, changes_of_loss()["nan"], only=None)
    sentence = fails(corpus, tmp_path / "exp", arch_data=arch_data)
    assert re.match(r"all \d weight steps of epoch 1 were skipped, since", sentence)
    assert not (tmp_path / "exp" / "checkpoint.pth").exists()


def test_valid_at_first(corpus, tmp_path, monkeypatch, capsys):
    """The epoch before stays, and the search can go on from it when it is mended."""
    exp = tmp_path / "exp"
    with monkeypatch.context() as patch:
        forwards = iter(range(10**6))
        bad = changes_of_loss()["nan"]
        first = 6  # weight steps of an epoch
        spoil(
            patch, lambda loss: loss if next(forwards) < first else bad(loss), only=None
        )
        sentence = fails(corpus, exp, arch_fraction=0.01, arch_data="joint")
    assert sentence.startswith("all 6 weight steps of epoch 2 were skipped")
    assert SearchExperiment.open(exp).epochs == (1,)
    options = command(corpus, exp, search_config(arch_data="joint"))
    program.main(options)
    assert not (exp / "failed.yaml").exists()
    derive(str(exp), "--output", str(tmp_path / "arch.yaml"))
    assert "exp, epoch 3:" in capsys.readouterr().out


def test_fewer_batches_than_are_accumulated(corpus, tmp_path):
    sentence = fails(corpus, tmp_path / "exp", accum_grad=100)
    assert sentence.startswith("epoch 1 had no weight step: accum_grad is 100, and")


def test_all_architecture_steps_were_skipped(corpus, tmp_path, monkeypatch):
    """The weights train, so all looks well but for the logits."""
    call = BatchLoss.__call__
    monkeypatch.setattr(BatchLoss, "__call__", lambda self: call(self) * float("nan"))
    sentence = fails(corpus, tmp_path / "exp")
    assert re.match(r"the logits did not move: all \d+ architecture step", sentence)


@pytest.mark.parametrize("arch_data", ["train", "joint"])
def test_updates_without_an_effect(corpus, tmp_path, monkeypatch, arch_data):
    update = LogitLearner.update

    def without_effect(self):
        before = [p.detach().clone() for p in self.logits]
        found = update(self)
        for p, old in zip(self.logits, before, strict=True):
            p.data.copy_(old)
        return found

    monkeypatch.setattr(LogitLearner, "update", without_effect)
    exp = tmp_path / "exp"
    sentence = fails(corpus, exp, arch_data=arch_data)
    assert (
        "after" in sentence
        and "all candidates of all choices are still equal" in sentence
    )
    # The same command again has nothing to do, and does not make it a success.
    before = {p: p.read_bytes() for p in exp.rglob("*") if p.is_file()}
    with pytest.raises(
        SystemExit, match="error: the search in .*, and no epoch is lef"
    ):
        program.main(command(corpus, exp, search_config(arch_data=arch_data)))
    assert {p: p.read_bytes() for p in exp.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "changes",
    [
        {"optim2_conf": {"lr": 0.0}},
        {"estimator": "uniform"},
        {"warmup_epochs": 2},
    ],
    ids=str,
)
def test_logits_that_need_not_move(corpus, tmp_path, changes):
    exp = tmp_path / "exp"
    program.main(command(corpus, exp, search_config(**{"max_epoch": 2, **changes})))
    assert SearchExperiment.failure_in(exp) is None


def test_an_interrupted_search_has_not_failed(corpus, tmp_path, monkeypatch, capsys):
    exp = tmp_path / "exp"
    program.main(command(corpus, exp, search_config(max_epoch=2)))
    monkeypatch.setattr(
        BatchLoss, "__call__", lambda self: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        program.main(command(corpus, exp, search_config(max_epoch=3)))
    derive(str(exp), "--output", str(tmp_path / "arch.yaml"))
    assert "exp, epoch 2:" in capsys.readouterr().out


def test_a_lost_process_of_several_on_a_machine(corpus, tmp_path, monkeypatch):
    """As ESPnet starts one for each GPU, and ends all when one has ended."""

    def lost(*_, **__):
        raise ProcessExitedException(
            "process 1 terminated with signal SIGKILL",
            error_index=1,
            error_pid=7,
            exit_code=-9,
            signal_name="SIGKILL",
        )

    monkeypatch.setattr("espnet2.tasks.abs_task.AbsTask.main", lost)
    options = command(corpus, tmp_path / "exp", search_config())
    with pytest.raises(
        SystemExit, match="^error: process 1 of this search ended .SIGK"
    ):
        program.main(options)
