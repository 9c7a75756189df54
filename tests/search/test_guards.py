"""Searches that do not move, and searches that decide at once, say so."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace

import pytest
import torch
import yaml

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.health import Health
from espnet_stnas.results.provenance import search_provenance
from espnet_stnas.search import program
from espnet_stnas.search.guards import Guard
from espnet_stnas.search.warmup import Warmup
from tests.search.conftest import command, derive, search_config

STILL = {"optim2_conf": {"lr": 0.0}, "max_epoch": 5}
HASTY = {"optim2_conf": {"lr": 20.0}, "max_epoch": 5}


def run(corpus, output_dir, caplog, **changes):
    """The warnings of a search: layer and kind, and of which epoch."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        program.main(command(corpus, output_dir, search_config(**changes)))
    return logged(caplog)


def logged(caplog):
    epoch, found = 0, []
    for record in caplog.records:
        message = record.getMessage()
        if started := re.match(r"(\d+)/\d+epoch started", message):
            epoch = int(started[1])
        if warning := re.match(r"layer (\d) (has not moved|collapsed early)", message):
            assert record.levelno == logging.WARNING
            found.append((epoch, int(warning[1]), warning[2]))
    return found


def test_search_that_does_not_move(corpus, tmp_path, caplog, capsys):
    found = run(corpus, tmp_path / "exp", caplog, **STILL)
    assert found == [(4, 2, "has not moved"), (4, 3, "has not moved")]
    assert "at all in 3 epochs of search: its logits got no update" in caplog.text
    arch = str(tmp_path / "arch.yaml")
    derive(str(tmp_path / "exp"), "--output", arch)
    out = capsys.readouterr().out
    assert "0.333   0.000  0 of 4 epochs" in out
    lines = out.splitlines()
    warnings = [line for line in lines if line.startswith("warning: layer")]
    assert [line[:40] for line in warnings] == [
        "warning: layer 2 has not moved from unif",
        "warning: layer 3 has not moved from unif",
    ]


def test_search_that_decides_at_once(corpus, tmp_path, caplog, capsys):
    found = run(corpus, tmp_path / "exp", caplog, **HASTY)
    assert found == [(2, 2, "collapsed early"), (2, 3, "collapsed early")]
    assert "after epoch 1 of 4 of the search, tdnn-" in caplog.text
    stats = torch.load(tmp_path / "exp" / "checkpoint.pth", weights_only=False)
    valid = stats["reporter"]["stats"][5]["valid"]
    assert valid["margin02"] > 0.9
    last = SearchExperiment.open(tmp_path / "exp").architecture()
    for number, pi in zip((2, 3), last.provenance.probabilities, strict=True):
        second, first = sorted(pi.values())[-2:]
        margin = valid[f"margin{number:02d}"]
        assert margin == pytest.approx(first - second, abs=2e-6)
    assert valid["margin"] == pytest.approx((valid["margin02"] + valid["margin03"]) / 2)
    arch = str(tmp_path / "arch.yaml")
    derive(str(tmp_path / "exp"), "--output", arch)
    assert capsys.readouterr().out.count("\nwarning: layer ") == 2


@pytest.mark.parametrize("changes", [STILL, HASTY])
def test_resumed_search_neither_repeats_nor_forgets(corpus, tmp_path, caplog, changes):
    """Also when it was first meant to be too short for any warning."""
    first = run(corpus, tmp_path / "exp", caplog, **{**changes, "max_epoch": 3})
    assert first == []
    second = run(corpus, tmp_path / "exp", caplog, **{**changes, "max_epoch": 4})
    assert [epoch for epoch, *_ in second] == [4, 4]
    assert run(corpus, tmp_path / "exp", caplog, **changes) == []


def test_baseline_and_short_searches_are_quiet(corpus, tmp_path, caplog, capsys):
    assert run(corpus, tmp_path / "a", caplog, max_epoch=5, estimator="uniform") == []
    assert run(corpus, tmp_path / "b", caplog, **{**STILL, "max_epoch": 3}) == []
    assert run(corpus, tmp_path / "c", caplog, **{**HASTY, "max_epoch": 3}) == []
    arch = str(tmp_path / "arch.yaml")
    derive(str(tmp_path / "a"), "--output", arch)
    out = capsys.readouterr().out
    assert "\nnote: estimator 'uniform' does not train the logits: all cand" in out
    assert "warning: layer" not in out


SPACE = SearchSpace.from_conf({"width": 8, "layers": [["tdnn-C1D1", "tdnn-C2D2"]]})


@pytest.fixture
def options(tmp_path):
    return SimpleNamespace(
        output_dir=str(tmp_path), estimator="st", max_epoch=6, warmup_epochs=0
    )


def write(options, epoch, p):
    provenance = search_provenance(
        SPACE, [[1 - p, p]], epoch=epoch, seed=0, searching=True
    )
    path = f"{options.output_dir}/architectures/{epoch}epoch.yaml"
    Architecture(SPACE.resolve([1]), provenance).write(path)


def guard_of(options):
    return Guard(SPACE, options, Warmup(options.warmup_epochs, 6, Health()))


def new(options, epoch, caplog, guard=None):
    """What is said after an epoch, by default by a run that begins with it."""
    caplog.clear()
    (guard or guard_of(options)).warn(epoch)
    return [re.split(" (?:early|from)", r.getMessage())[0] for r in caplog.records]


@pytest.mark.parametrize("killed", [False, True], ids=["one run", "a run an epoch"])
def test_each_doubt_is_logged_once(options, caplog, killed):
    """A figure goes back and forth; epoch 4 is run again, after a kill."""
    found = []
    guard = None if killed else guard_of(options)
    for epoch, p in enumerate((0.999, 0.7, 0.999, 0.5, 0.7, 0.5), start=1):
        write(options, epoch, p)
        found.append(new(options, epoch, caplog, guard))
    assert found == [
        *(["layer 1 collapsed"], [], []),
        *(["layer 1 has not moved"], [], []),
    ]
    assert new(options, 5, caplog) == []
    write(options, 4, 0.5)
    assert new(options, 4, caplog) == ["layer 1 has not moved"]


def test_a_run_reads_each_epoch_once(options, caplog, monkeypatch):
    read = []
    original = Architecture.read.__func__
    monkeypatch.setattr(
        Architecture,
        "read",
        classmethod(lambda cls, path: read.append(path.stem) or original(cls, path)),
    )
    for epoch in range(1, 4):
        write(options, epoch, 0.7)
    guard = guard_of(options)
    guard.warn(3)
    for epoch in (4, 5):
        write(options, epoch, 0.7)
        guard.warn(epoch)
    assert read == ["1epoch", "2epoch", "3epoch", "4epoch", "5epoch"]


def test_another_search_in_the_same_place_starts_anew(options, caplog):
    write(options, 1, 0.999)
    write(options, 2, 0.999)
    assert new(options, 2, caplog) == ["layer 1 collapsed"]
    options.warmup_epochs = 1
    assert new(options, 1, caplog) == []
    assert new(options, 2, caplog) == ["layer 1 collapsed"]


@pytest.mark.parametrize(
    "damage",
    ["[", "warnings: 3", "warnings: [3]", "other: 1", "warnings: [{epoch: a}]"],
)
def test_damaged_files_stop_nothing(options, tmp_path, caplog, damage):
    write(options, 1, 0.7)
    write(options, 2, 0.999)
    (tmp_path / "architectures" / "1epoch.yaml").write_text("[")
    (tmp_path / "warnings.yaml").write_text(damage)
    assert new(options, 2, caplog) == ["layer 1 collapsed"]
    saved = yaml.safe_load((tmp_path / "warnings.yaml").read_text())
    assert [(w["epoch"], w["kind"]) for w in saved["warnings"]] == [(2, "collapsed")]
