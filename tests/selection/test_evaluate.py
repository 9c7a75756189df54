"""Architectures with shared weights: what ESPnet's model says of each, and its log."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path

import editdistance
import pytest
import torch
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators.base import Gate
from espnet_stnas.results.curves import read_epoch
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.selection import evaluate as module
from espnet_stnas.selection.data import data_files
from espnet_stnas.selection.evaluate import Evaluator
from espnet_stnas.selection.paths import all_paths
from espnet_stnas.selection.scoring import PathScorer
from espnet_stnas.selection.source import Source
from espnet_stnas.supernet.supernet import find_supernet
from tests.search.conftest import command, search_config


def copied(exp: Path, tmp_path: Path, **changes: object) -> Path:
    """A copy of a search, with another config.yaml."""
    copy = tmp_path / "copy"
    shutil.copytree(exp, copy)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    (copy / "config.yaml").write_text(yaml.safe_dump({**config, **changes}))
    shutil.rmtree(copy / "evaluations", ignore_errors=True)
    return copy


def lines_of(exp: Path) -> list[str]:
    return (exp / "evaluations" / "valid.csv").read_text().splitlines()


def test_the_loss_is_that_of_the_search(plain_search):
    """ESPnet's validation of the arg max, in the same epoch."""
    for epoch in (1, 2):
        evaluator = Evaluator(SearchExperiment.open(plain_search), epoch=epoch)
        arch = evaluator.experiment.architecture(epoch)
        found = evaluator([evaluator.experiment.space.index(arch.space)])[0]
        valid = read_epoch(plain_search, epoch)[-1].valid_loss
        assert found.loss == pytest.approx(valid, rel=1e-5)
        assert found.accuracy is None


@torch.no_grad()
def one_by_one(exp: Path, epoch: int = 2) -> dict[tuple[int, ...], tuple[float, float]]:
    """Loss and error rate of every path: one forward of the model each."""
    experiment = SearchExperiment.open(exp)
    weights = torch.load(exp / f"{epoch}epoch.pth", weights_only=True)
    source = Source(experiment, weights, exp, "cpu")
    batches = list(source.batches(data_files(experiment, "valid")))
    supernet, results = find_supernet(source.model), {}
    for path in all_paths(experiment.space):
        loss = errors = tokens = count = 0.0
        with supernet.routed([Gate((k,)) for k in path]):
            for batch in batches:
                one, _, weight = source.model(**batch)
                loss, count = loss + float(one) * int(weight), count + int(weight)
                encoded, lengths = source.model.encode(
                    batch["speech"], batch["speech_lengths"]
                )
                best = source.model.ctc.argmax(encoded)
                for row, n, text in zip(best, lengths, batch["text"], strict=True):
                    said = [k for k, _ in itertools.groupby(row[:n].tolist()) if k]
                    wanted = [k for k in text.tolist() if k != -1]
                    errors += editdistance.eval(said, wanted)
                    tokens += len(wanted)
        results[path] = loss / count, errors / tokens
    return results


@pytest.mark.parametrize("processes", (1, 2))
def test_every_architecture_is_what_the_model_says_of_it(
    plain_search, tmp_path, monkeypatch, processes
):
    monkeypatch.setattr(module, "_TOGETHER", 5)
    exp = copied(plain_search, tmp_path)
    evaluator = Evaluator(SearchExperiment.open(exp), processes=processes)
    paths = all_paths(evaluator.experiment.space)[::-1]
    expected = one_by_one(exp)
    for path, found in zip(paths, evaluator(paths), strict=True):
        assert (found.loss, found.error_rate) == pytest.approx(expected[path])
    assert len(lines_of(exp)) == 1 + len(paths)
    assert len({loss for loss, _ in expected.values()}) == len(paths)


def test_what_is_known_is_not_computed_again(plain_search, tmp_path, monkeypatch):
    """Also after an interruption, whose half-written line does not count."""
    monkeypatch.setattr(module, "_TOGETHER", 4)
    exp = copied(plain_search, tmp_path)
    experiment = SearchExperiment.open(exp)
    paths = all_paths(experiment.space)
    score = PathScorer.score

    def stopped(self, some, *others):
        if paths[5] in some:
            raise KeyboardInterrupt
        return score(self, some, *others)

    with monkeypatch.context() as patch:
        patch.setattr(PathScorer, "score", stopped)
        with pytest.raises(KeyboardInterrupt):
            Evaluator(experiment)(paths)
    kept = lines_of(exp)
    assert len(kept) == 1 + 4
    with open(exp / "evaluations" / "valid.csv", "a") as file:
        file.write("2,abc,")
    found = Evaluator(experiment)(paths)
    assert lines_of(exp)[: len(kept)] == kept
    assert len(lines_of(exp)) == 1 + len(paths)
    monkeypatch.setattr(PathScorer, "score", None)
    monkeypatch.setattr(PathScorer, "prepare", None)
    assert Evaluator(experiment)(paths) == found


def die(_: object) -> None:
    os._exit(1)


def test_a_process_that_is_lost(plain_search, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_TOGETHER", 4)
    experiment = SearchExperiment.open(copied(plain_search, tmp_path))
    paths = all_paths(experiment.space)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_work_of_child", die)
        with pytest.raises(ConfigError, match="one of 2 processes ended too early"):
            Evaluator(experiment, processes=2)(paths)
    assert len(Evaluator(experiment, processes=2)(paths)) == len(paths)


def test_other_weights_and_other_data_are_evaluated_anew(plain_search, tmp_path):
    exp = copied(plain_search, tmp_path)
    experiment = SearchExperiment.open(exp)
    path = all_paths(experiment.space)[0]
    Evaluator(experiment)([path])
    assert Evaluator(experiment).known
    assert not Evaluator(experiment, epoch=1).known
    assert not Evaluator(experiment, data="train").known
    weights = torch.load(exp / "2epoch.pth", weights_only=True)
    weights["ctc.ctc_lo.bias"] += 1.0
    torch.save(weights, exp / "2epoch.pth")
    assert not Evaluator(experiment).known


def test_the_part_of_the_architecture_steps(plain_search, tmp_path):
    exp = copied(plain_search, tmp_path)
    evaluator = Evaluator(SearchExperiment.open(exp), data="architecture")
    path = all_paths(evaluator.experiment.space)[0]
    found = evaluator([path])[0]
    whole = Evaluator(evaluator.experiment, data="train")([path])[0]
    assert found.loss != whole.loss
    shutil.rmtree(exp / "split")
    with pytest.raises(ConfigError, match="set no part of its training set aside"):
        Evaluator(evaluator.experiment, data="architecture")


def test_batch_norms_get_the_statistics_of_each_architecture(finished_search, tmp_path):
    """More batches, other statistics; paths without batch norm do not care."""
    exp = copied(finished_search, tmp_path)
    experiment = SearchExperiment.open(exp)
    paths = all_paths(experiment.space)
    few = Evaluator(experiment, calibration=1)(paths)
    more = Evaluator(experiment, calibration=6)(paths)
    assert Evaluator(experiment, calibration=6).conditions.calibration == 6
    for path, one, other in zip(paths, few, more, strict=True):
        assert (one == other) == (path[0] != 2)  # tdnn-C2D1Nbn
    assert len(lines_of(exp)) == 1 + 2 * len(paths)


@pytest.mark.parametrize("weight", (0.0, 0.3))
def test_models_with_a_decoder(corpus, tmp_path, weight):
    """Without CTC there is no error rate; with a decoder there is an accuracy."""
    from espnet_stnas.search import program

    decoder = {"attention_heads": 2, "linear_units": 8, "num_blocks": 1}
    config = search_config(
        max_epoch=2,
        model_conf={"ctc_weight": weight},
        decoder="transformer",
        decoder_conf=decoder,
    )
    exp = tmp_path / "exp"
    program.main(command(corpus, exp, config))
    evaluator = Evaluator(SearchExperiment.open(exp))
    found = evaluator(all_paths(evaluator.experiment.space))[0]
    assert 0 <= found.accuracy <= 1
    assert (found.error_rate is None) == (weight == 0.0)
    if weight == 0.0:
        with pytest.raises(ConfigError, match="no error_rate; accepted are: loss, acc"):
            found.badness("error_rate")


def evaluate(exp: Path, *options: str) -> None:
    stnas(["evaluate", str(exp), *map(str, options)])


def test_command(plain_search, tmp_path, capsys):
    exp = copied(plain_search, tmp_path)
    arch = exp / "architectures" / "1epoch.yaml"
    evaluate(exp, arch)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"Epoch 2 of {exp}, data 'valid':"
    assert out[1].split() == ["architecture", "loss", "token", "errors", "%"]
    assert out[2].split()[0] == str(arch)
    evaluate(exp, "--all", "--json")
    every = json.loads(capsys.readouterr().out)["architectures"]
    losses = [row["loss"] for row in every]
    assert losses == sorted(losses) and len(losses) == 12
    evaluate(exp, "--paths", "5", "--json")
    some = json.loads(capsys.readouterr().out)["architectures"]
    assert len(some) == 5 and all(row in every for row in some)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,b\n1,2\n", "line 1: 'a,b' is no line of stnas evaluate; move"),
        ("no end of line", "line 1: 'no end of line' is no line"),
        ("{header}\n2,a\n", "line 2: '2,a' is no line"),
        ("{header}\n2,a,b,20,tdnn,x,,\n", "line 2: .* is no line"),
        ("{row}tdnn-C1D1 ff,1.0,0.5,\n", "'tdnn-C1D1 ff' is no architecture of the"),
    ],
)
def test_files_that_are_damaged_or_of_others(plain_search, tmp_path, content, problem):
    exp = copied(plain_search, tmp_path)
    file = exp / "evaluations" / "valid.csv"
    evaluate(exp)
    header, row = file.read_text().splitlines()
    start = f"{header}\n{row.rsplit(',', 4)[0]},"
    text = content.format(header=header, row=start)
    file.write_text(text)
    with pytest.raises(SystemExit, match=f"^error: .*valid.csv, .*{problem}"):
        evaluate(exp, "--all")
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--epoch", "7"), "epoch 7 is not in .*architectures; accepted are 1 to 2"),
        (("--processes", "0"), "processes is 0; accepted is an integer from 1"),
        (("--calibration", "0"), "calibration is 0; accepted is an integer"),
        (("--paths", "0"), "paths is 0; accepted is an integer from 1 to 12"),
        (("nothing.yaml",), "architecture file nothing.yaml does not exist"),
    ],
)
def test_what_is_refused(plain_search, options, problem):
    with pytest.raises(SystemExit, match=f"^error: {problem}"):
        evaluate(plain_search, *options)


def test_architectures_of_another_space(plain_search, finished_search):
    arch = finished_search / "architectures" / "1epoch.yaml"
    with pytest.raises(
        SystemExit, match="1epoch.yaml does not belong to the search sp"
    ):
        evaluate(plain_search, arch)


def test_experiments_without_epochs_weights_or_data(plain_search, corpus, tmp_path):
    exp = copied(plain_search, tmp_path)
    config = yaml.safe_load((exp / "config.yaml").read_text())
    (exp / "config.yaml").write_text(
        yaml.safe_dump({**config, "valid_shape_file": ["gone/shape"]})
    )
    with pytest.raises(SystemExit, match="gone/shape, which .*config.yaml names, does"):
        evaluate(exp)
    (exp / "config.yaml").write_text(yaml.safe_dump(config))
    for name in ("2epoch.pth", "checkpoint.pth"):
        (exp / name).unlink()
    with pytest.raises(SystemExit, match="has no weights of epoch 2"):
        evaluate(exp)
    shutil.rmtree(exp / "architectures")
    with pytest.raises(SystemExit, match="the search has not finished an epoch yet"):
        evaluate(exp)


def test_only_empty_transcripts(plain_search, corpus, tmp_path):
    names = (corpus / "dev" / "text").read_text().split()[::2]
    (tmp_path / "text").write_text("".join(f"{name}\n" for name in names))
    rows = [
        [f"{corpus}/dev/wav.scp", "speech", "sound"],
        [str(tmp_path / "text"), "text", "text"],
    ]
    exp = copied(plain_search, tmp_path, valid_data_path_and_name_and_type=rows)
    with pytest.raises(SystemExit, match="has only empty transcripts, in which no err"):
        evaluate(exp)


def test_weights_of_another_space(plain_search, finished_search, tmp_path):
    exp = copied(plain_search, tmp_path)
    shutil.copy(finished_search / "2epoch.pth", exp / "2epoch.pth")
    with pytest.raises(
        SystemExit, match="cannot be built with the weights of .*2epoch"
    ):
        evaluate(exp)
