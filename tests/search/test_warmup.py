"""Automatic warm-ups, and what a search measures of its supernet."""

from __future__ import annotations

import logging

import pytest
import torch

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.estimators.base import Gate
from espnet_stnas.results import health
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.health import Health, Sample, read_health, write_health
from espnet_stnas.search import health as measuring
from espnet_stnas.search import program, trainer
from espnet_stnas.search.reference import begin_anew, keep_first_weights
from espnet_stnas.search.task import SearchASRTask
from espnet_stnas.search.warmup import FIRST_WEIGHTS, Warmup, warmup_epochs
from espnet_stnas.supernet.supernet import Supernet
from tests.search.conftest import command, search_config

AUTO = {"warmup_epochs": "auto", "max_epoch": 6}


def phases(exp):
    return [a.provenance.phase for a in SearchExperiment.open(exp).history()]


def test_the_option():
    assert [warmup_epochs("auto"), warmup_epochs("3")] == ["auto", 3]
    with pytest.raises(ValueError, match="invalid literal"):
        warmup_epochs("often")


def test_a_count_is_fixed():
    warmup = Warmup(2, 10, Health())
    assert [warmup.includes(e) for e in (1, 2, 3)] == [True, True, False]
    assert not warmup.is_reference(1)
    assert warmup.decided


def test_an_automatic_warm_up_has_a_reference_and_a_limit():
    warmup = Warmup("auto", 20, Health())
    assert [warmup.is_reference(e) for e in (2, 3)] == [True, False]
    assert [warmup.includes(e) for e in (13, 14)] == [True, False]
    warmup.end(7)
    assert not warmup.includes(8)
    # It stays as it was when more epochs are asked for.
    alone = Sample(4, 1, 32, 10.0, 0.0, 0.0)
    assert not Warmup("auto", 100, Health((), alone, 7)).includes(8)
    assert not Warmup("auto", 100, Health((), alone)).is_reference(5)


@pytest.fixture(scope="module")
def ready(corpus, tmp_path_factory):
    """A search whose supernet is ready at once: nothing can be worse than its paths."""
    exp = tmp_path_factory.mktemp("auto") / "exp"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Health, "ready", lambda self, sample: sample.epoch >= 3)
        program.main(command(corpus, exp, search_config(**AUTO)))
    return exp


def test_a_warm_up_ends_when_the_supernet_is_ready(ready):
    assert phases(ready) == ["warm-up"] * 3 + ["search"] * 3
    found = read_health(ready)
    assert found.warmup_end == 3
    assert (found.reference.epoch, found.reference.paths) == (1, 1)
    assert [s.epoch for s in found.samples] == [2, 3, 4, 5, 6]
    # The toy's space has six paths, and its development part six utterances.
    assert {(s.paths, s.utterances) for s in found.samples} == {(6, 6)}
    assert [s.tau is None for s in found.samples] == [True, True, False, False, False]
    assert SearchExperiment.open(ready).plan.epochs == 3


def test_a_resumed_search_ends_its_warm_up_alike(corpus, ready, tmp_path, monkeypatch):
    """Stopped in the warm-up and just after its end."""
    monkeypatch.setattr(Health, "ready", lambda self, sample: sample.epoch >= 3)
    exp = tmp_path / "exp"
    for epochs in (0, 1, 2, 3):
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, epochs)
            with pytest.raises(KeyboardInterrupt):
                program.main(command(corpus, exp, search_config(**AUTO)))
    program.main(command(corpus, exp, search_config(**AUTO)))
    assert read_health(exp) == read_health(ready)
    one, other = (
        torch.load(path / "checkpoint.pth", weights_only=False)["model"]
        for path in (exp, ready)
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


def stop_after(patch, epochs):
    original = SearchASRTask.trainer.train_one_epoch.__func__

    def stopping(cls, *args, **kwargs):
        if kwargs["reporter"].get_epoch() > epochs:
            raise KeyboardInterrupt
        return original(cls, *args, **kwargs)

    patch.setattr(SearchASRTask.trainer, "train_one_epoch", classmethod(stopping))


def test_the_reference_trains_the_largest_path_alone(corpus, tmp_path, monkeypatch):
    routed = Supernet.routed
    seen = []

    def spying(self, gates):
        if self.training:
            seen.append(tuple(gate.active for gate in gates))
        return routed(self, gates)

    monkeypatch.setattr(Supernet, "routed", spying)
    program.main(command(corpus, tmp_path / "exp", search_config(**AUTO)))
    steps = len(seen) // 6
    # tdnn-C2D1 has most weights of the first choice; those of the second are equal.
    assert len(set(seen[: steps // 2])) == 1


def test_after_the_reference_all_weights_begin_anew(corpus, tmp_path, monkeypatch):
    states = []

    def spying(run):
        states.append(run.model.state_dict())
        states[-1] = {k: v.clone() for k, v in states[-1].items()}
        begin_anew(run)
        states.append({k: v.clone() for k, v in run.model.state_dict().items()})
        assert not run.optimizers[0].state

    first = []

    def keeping(run):
        first.append({k: v.clone() for k, v in run.model.state_dict().items()})
        keep_first_weights(run)

    monkeypatch.setattr(measuring, "begin_anew", spying)
    monkeypatch.setattr(trainer, "keep_first_weights", keeping)
    exp = tmp_path / "exp"
    program.main(command(corpus, exp, search_config(**AUTO)))
    trained, anew = states
    assert all(torch.equal(first[0][key], anew[key]) for key in anew)
    assert any(not torch.equal(first[0][key], trained[key]) for key in trained)
    assert not (exp / FIRST_WEIGHTS).exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patience": 3}, "patience is 3 and warmup_epochs 'auto'"),
        ({"scheduler": "reducelronplateau"}, "scheduler is 'reducelronplateau' and"),
    ],
)
def test_what_would_take_a_new_beginning_for_a_failure_is_refused(
    corpus, tmp_path, changes, message
):
    config = search_config(**AUTO, **changes)
    with pytest.raises(SystemExit, match=message):
        program.main(command(corpus, tmp_path / "exp", config))


def test_a_warm_up_that_is_never_ready_ends_at_its_limit(
    corpus, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(Health, "ready", lambda self, sample: False)
    with caplog.at_level(logging.WARNING):
        program.main(command(corpus, tmp_path / "exp", search_config(**AUTO)))
    assert phases(tmp_path / "exp") == ["warm-up"] * 4 + ["search"] * 2
    assert "the warm-up ends with epoch 4, though the supernet is not" in caplog.text


def test_paths_are_measured_as_the_model_measures_them(corpus, ready, monkeypatch):
    """The mean of a sample is that of the model's own losses on the same paths."""
    seen = []
    original = measuring._measured

    def spying(run, epoch, paths, batches):
        sample = original(run, epoch, paths, batches)
        if epoch == 6:
            run.model.eval()
            for path in paths:
                with run.supernet.routed([Gate((k,)) for k in path]), torch.no_grad():
                    found = [run.model(**data, utt_id=names) for names, data in batches]
                total = sum(float(loss) * float(w) for loss, _, w in found)
                seen.append(total / sum(float(w) for *_, w in found))
            seen.append(sample)
        return sample

    monkeypatch.setattr(measuring, "_measured", spying)
    monkeypatch.setattr(Health, "ready", lambda self, sample: sample.epoch >= 3)
    exp = ready.parent / "again"
    program.main(command(corpus, exp, search_config(**AUTO)))
    *losses, sample = seen
    assert len(losses) == 6
    assert sample.loss == pytest.approx(sum(losses) / 6, rel=1e-5)
    assert read_health(exp) == read_health(ready)


@pytest.mark.parametrize(("error", "code"), [(0.95, 3), (0.3, 0)])
def test_derive_tells_scripts_of_an_untrained_supernet(
    ready, tmp_path, capsys, error, code
):
    known = read_health(ready)
    last = Sample(6, 50, 100, 40.0, 1.0, 0.1, error, 0.5)
    try:
        write_health(ready, Health((*known.samples[:-1], last), None, 3))
        words = ["derive", str(ready), "--output", str(tmp_path / "arch.yaml")]
        if code:
            with pytest.raises(SystemExit) as ended:
                stnas(words)
            assert ended.value.code == code
        else:
            stnas(words)
    finally:
        write_health(ready, known)
    out = capsys.readouterr().out
    assert (tmp_path / "arch.yaml").exists()
    assert ("warning: the supernet is not trained" in out) == bool(code)
    assert ("note: the supernet is trained" in out) == (not code)


def test_a_new_search_begins_without_the_old_file(corpus, ready, tmp_path):
    exp = tmp_path / "exp"
    exp.mkdir()
    (exp / health.FILE).write_text((ready / health.FILE).read_text())
    program.main(command(corpus, exp, search_config(max_epoch=2)))
    found = read_health(exp)
    assert (found.reference, found.warmup_end) == (None, None)
    assert [s.epoch for s in found.samples] == [1, 2]


def test_a_report_says_what_the_supernet_knows(ready, tmp_path):
    stnas(["report", str(ready), "--output", str(tmp_path / "report")])
    (page,) = (tmp_path / "report").glob("*.html")
    text = page.read_text()
    assert "What the supernet knows" in text
    assert "he supernet is trained" in text
    assert (tmp_path / "report" / "paths.png").exists()
