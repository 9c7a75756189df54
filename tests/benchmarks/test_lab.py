"""The laboratory on a corpus of noise: table, supernets, ranking, schedules."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from espnet_stnas.notation.reach import view_of
from espnet_stnas.supernet.supernet import build_supernet

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = (
    *("elastic", "estimator_facts", "evidence", "front", "lookahead", "ranking"),
    *("schedules", "supernets", "table"),
)


@pytest.fixture(scope="module")
def lab():
    """The scripts, and the modules that they share."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        found = {name: importlib.import_module(name) for name in SCRIPTS}
        for name in ("corpus", "gradients", "spaces", "training", "ways"):
            found[name] = importlib.import_module(f"lab.{name}")
        yield SimpleNamespace(**found)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> list[str]:
    """A corpus of noise, and where its features go."""
    data = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(0)
    for part, count in (("train", 4), ("dev", 2), ("test", 2)):
        folder = data / part
        folder.mkdir()
        names = [f"{part}{n}" for n in range(count)]
        for name in names:
            samples = random.normal(scale=0.1, size=3000 + random.integers(2000))
            soundfile.write(folder / f"{name}.wav", samples, 8000)
        lines = [f"{name} {folder / name}.wav\n" for name in names]
        (folder / "wav.scp").write_text("".join(lines))
        (folder / "text").write_text("".join(f"{name} a b\n" for name in names))
    return [str(data), "--cache", str(data / "features.pt")]


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table, without times."""
    return [
        {key: value for key, value in row.items() if key != "cpu_seconds"}
        for row in csv.DictReader(path.open())
    ]


def test_a_table_is_completed_and_supernets_are_ranked_by_it(
    lab, options, tmp_path, capsys
):
    output, found = tmp_path / "table.csv", tmp_path / "supernets.csv"
    common = [*options, "--per_size", "1", "--steps", "5"]
    lab.table.main([*common, "--output", str(output), "--seeds", "1"])
    rows = read(output)
    # A row for each fifth of the training of an architecture of each size.
    assert len(rows) == 7 * 5
    assert len({row["parameters"] for row in rows}) == 7
    assert {row["test_wer"] == "" for row in rows if row["step"] != "5"} == {True}
    output.write_text("".join(output.read_text().splitlines(keepends=True)[:-5]))
    lab.table.main([*common, "--output", str(output), "--seeds", "1"])
    assert read(output) == rows
    # Four steps, two of them warm-up.
    common[-1] = "4"
    lab.supernets.main([*common, "--output", str(found), "--seeds", "0"])
    losses = list(csv.DictReader(found.open()))
    assert len(losses) == 2 * 2 * 7
    assert {row["sharing"] for row in losses} == {"kernel", "none"}
    warm = [row["surprise"] for row in losses if row["step"] == "2"]
    assert len(set(warm)) == 1  # the logits have not moved in the warm-up
    capsys.readouterr()
    lab.ranking.main([str(output), str(found), "--metric", "dev_loss"])
    printed = capsys.readouterr().out
    assert "7 architectures, 1 seeds" in printed
    # The loss after the warm-up, loss and -log pi at the end.
    assert printed.count("| kernel, one") == printed.count("| none, one") == 3


def test_an_elastic_supernet_is_compared_with_trainings(lab, options, tmp_path, capsys):
    output = tmp_path / "elastic.csv"
    command = [*options, "--output", str(output), "--steps", "2", "--seeds", "0"]
    lab.elastic.main(command)
    rows = read(output)
    kinds = {kind: [r for r in rows if r["kind"] == kind] for kind in lab.elastic.KINDS}
    assert [len(those) for those in kinds.values()] == [5, 4, 5, 5, 5, 5]
    sizes = [int(row["parameters"]) for row in kinds["alone"]]
    assert sizes == sorted(sizes, reverse=True)
    assert len({(r["kind"], r["dev_loss"]) for r in rows}) == len(rows)
    # What is missing is made again, and is the same.
    output.write_text("".join(output.read_text().splitlines(keepends=True)[:-7]))
    lab.elastic.main(command)
    assert read(output) == rows
    assert capsys.readouterr().out.count("| trained alone") == 2


def test_ways_train_supernets(lab, options, tmp_path):
    found = tmp_path / "supernets.csv"
    ways = list(lab.ways.WAYS)
    common = [*options, "--per_size", "1", "--steps", "12", "--output", str(found)]
    common += ["--sharing", "kernel", "--seeds", "0", "--parts", "1", "--warmup", "1"]
    lab.supernets.main([*common, "--way", *ways])
    rows = list(csv.DictReader(found.open()))
    losses = {w: [r["dev_loss"] for r in rows if r["way"] == w] for w in ways}
    assert all(len(set(values)) == 7 for values in losses.values())
    assert len({tuple(values) for values in losses.values()}) == len(ways)


def test_the_ends_of_a_space_are_its_largest_and_its_smallest_path(lab):
    supernet = build_supernet(lab.spaces.searched("tdnn", "kernel"), 40)
    largest, smallest = lab.ways.ends(supernet)
    assert [gate.active[0] for gate in largest] == [2] * 6
    assert [gate.active[0] for gate in smallest] == [0] * 6


@pytest.mark.parametrize("name", ["tdnn", "depth", "causal", "conformer", "mixed"])
def test_paths_of_spaces_are_distinct(lab, name):
    paths = lab.spaces.draw_paths(name, 16)
    assert len(set(paths)) == len(paths) >= 16
    assert lab.spaces.fixed(name, paths[0]).is_architecture


def test_schedules_are_compared(lab, options, capsys):
    encoders = ["--encoders", "tdnn:000000", "conformer", "ebranchformer"]
    lab.schedules.main([*options, "--seeds", "0", "--steps", "5", *encoders])
    printed = capsys.readouterr().out
    assert all(f"| {name} |" in printed for name in lab.schedules.SCHEDULES)


def test_encoders_are_compared_at_equal_size(lab, options, tmp_path, capsys):
    output = tmp_path / "evidence.csv"
    words = [*options, "--output", str(output), "--steps", "5", "--search_steps", "4"]
    words += ["--searches", "0", "1", "--seeds", "0", "--random", "2"]
    lab.evidence.main(words)
    printed = capsys.readouterr().out
    assert printed.count("| 2 x 1 |") == 5  # searched in four ways, and random
    with output.open() as file:
        rows = list(csv.DictReader(file))
    sizes = {r["kind"]: int(r["parameters"]) for r in rows if r["test_wer"]}
    budget = 0.85 * sizes["largest"]
    for kind in ("both", "random", "conformer", "ebranchformer"):
        assert 0.97 * budget <= sizes[kind] <= budget
    # Called again, it only prints.
    before = output.read_bytes()
    lab.evidence.main(words)
    assert capsys.readouterr().out == printed
    assert output.read_bytes() == before


def test_rates_of_schedules(lab):
    rates = {
        s: [
            round(lab.training.Settings(10, schedule=s).rate(n, 5) / 4e-3, 3)
            for n in (0, 4, 5, 9)
        ]
        for s in lab.schedules.SCHEDULES
    }
    assert rates == {
        "constant": [1.0, 1.0, 1.0, 1.0],
        "cosine": [1.0, 1.0, 0.5, 0.5],
        "linear": [1.0, 0.667, 0.556, 0.111],
    }


def test_batches_hold_all_utterances_within_their_size(lab, options):
    corpus = lab.corpus.read_corpus(Path(options[0]), Path(options[2]))
    assert corpus.characters == ("", " ", "a", "b") and corpus.input_size == 40
    batches = lab.corpus.make_batches(corpus.parts["train"], 150)
    assert sorted(n for b in batches for n in b.lengths.tolist()) == sorted(
        len(u.frames) for u in corpus.parts["train"]
    )
    assert all(b.frames.size(0) * b.frames.size(1) <= 150 for b in batches)


def test_a_front_beside_a_search_for_each_weight(lab, options, tmp_path, capsys):
    output = tmp_path / "front.csv"
    words = [*options, "--output", str(output), "--steps", "5", "--search_steps", "40"]
    words += ["--searches", "0", "--seeds", "0", "--measured", "20"]
    figure = tmp_path / "front.svg"
    lab.front.main([*words, "--weights", "0", "10000", "--figure", str(figure)])
    assert figure.read_text().count("<path") > 10
    rows = lab.front.read_rows(output)
    (costly,) = (r for r in rows if r.weight == 10000)
    others = [r.parameters for r in rows if r.weight == 0]
    # The cost has an effect, and the front has no more than one architecture of a size.
    assert costly.parameters <= min(others)
    one = [r.parameters for r in rows if r.way == lab.front.ONE]
    assert len(set(one)) == len(one)
    told = capsys.readouterr().out
    lab.front.main([*words, "--weights", "0", "10000"])
    assert lab.front.read_rows(output) == rows
    assert capsys.readouterr().out == told


def test_the_hypervolume_of_a_front(lab):
    def row(way, path, parameters, wer):
        return lab.front.Row(way, 0.0, 0, 10.0, path, parameters, 0, wer)

    rows = [row(lab.front.ONE, "0", 100, 50.0), row(lab.front.ONE, "1", 150, 25.0)]
    rows.append(row(lab.front.EACH, "0", 100, 100.0))
    told = lab.front.report(rows, 100, 200)
    # Half of the box below the smaller one, and a quarter of its height from there on.
    assert "62.5" in told and "0 k: 50.0, 0 k: 25.0" in told


def test_errors_are_drawn_against_look_ahead(lab, options, tmp_path, capsys):
    output, figure = tmp_path / "lookahead.csv", tmp_path / "lookahead.svg"
    words = [*options, "--output", str(output), "--figure", str(figure), "--steps", "5"]
    words += ["--search_steps", "4", "--budgets", "0", "200", "--seeds", "0", "1"]
    words += ["--random", "2"]
    lab.lookahead.main(words)
    printed = capsys.readouterr().out
    rows = list(csv.DictReader(output.open()))
    chosen, trained = ([r for r in rows if bool(r["seed"]) == b] for b in (False, True))
    assert len(chosen) == 2 * (1 + 2)
    assert len(trained) == 2 * len(chosen)
    for row in rows:
        space = lab.spaces.fixed("causal", tuple(map(int, row["encoder"][7:])))
        assert float(row["look_ahead"]) == 10 * view_of(space).right
        assert float(row["look_ahead"]) <= float(row["budget"])
    assert printed.count("| searched |") == printed.count("| random |") == 2
    assert figure.read_text().count("<path") > 10
    before = output.read_text()
    lab.lookahead.main(words)
    assert output.read_text() == before
