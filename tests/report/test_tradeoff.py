"""Errors against cost, from experiments on disk."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.cost.counts import macs_table, parameter_table
from espnet_stnas.cost.latency import measure_latency
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.costs import points_of
from espnet_stnas.report.summary import summarise
from espnet_stnas.report.tradeoff import Point, pareto_front, tradeoff_table
from espnet_stnas.report.trainings import Sizes, open_training
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import FoundCost, search_provenance
from tests.conftest import all_paths, tiny_space

SPACE = tiny_space(["tdnn-C1D1", "tdnn-C2D1"], ["tdnn-C1D1", "identity"])
TABLE = parameter_table(SPACE, 4)
MACS = macs_table(SPACE, 4, 9)


def test_the_front_is_what_nothing_beats():
    points = [
        Point("cheap", 1, 20.0),
        Point("beaten", 3, 20.0),
        Point("middle", 2, 10.0),
        Point("twin", 2, 10.0),
        Point("dear", 9, 5.0),
        Point("worse", 9, 6.0),
    ]
    names = [p.name for p in pareto_front(points[::-1])]
    assert names == ["cheap", "twin", "middle", "dear"]
    assert pareto_front([]) == []


def test_table():
    table = tradeoff_table(
        [Point("a|b", 2000, 5, 0.1, 3000.0), Point("c", 1000, 6.5)], "parameters", "wer"
    )
    assert [cells(line) for line in table.splitlines()[2:]] == [
        ["c", "", "", "1,000", "6.50", "yes"],
        ["a\\|b", "0.1", "3,000", "2,000", "5.00", "yes"],
    ]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    """Two searches, the trainings of what they found, and one more training."""
    for weight, path in ((0, (1, 0)), (1, (0, 0))):
        search = tmp_path / f"search{weight}"
        search.mkdir()
        config = {"encoder": "stnas", "encoder_conf": SPACE.to_conf()}
        (search / "config.yaml").write_text(
            yaml.safe_dump({**config, "warmup_epochs": 1})
        )
        cost = FoundCost("params", TABLE.of(path), weight=weight, target=9.0)
        # In the warm-up, the arg-max is what stands first.
        for epoch, place in ((1, (1, 1)), (2, path)):
            provenance = search_provenance(
                SPACE,
                [[0.5, 0.5]] * 2,
                epoch=epoch,
                seed=0,
                searching=epoch > 1,
                input_size=4,
                cost=cost,
            )
            Architecture(SPACE.resolve(place), provenance).write(
                search / "architectures" / f"{epoch}epoch.yaml"
            )
        make_training(tmp_path / f"train{weight}", path, wer=10.0 * (1 + weight))
    make_training(tmp_path / "other", (1, 1), wer=30.0)
    monkeypatch.setattr("espnet_stnas.report.speed.model_sizes", sizes)
    return tmp_path


def sizes(path) -> Sizes:
    conf = yaml.safe_load((path / "config.yaml").read_text())["encoder_conf"]
    count = parameter_table(SearchSpace.from_conf(conf), 4).fixed
    return Sizes(int(count), int(count) + 7, 4)


def make_training(training, path, wer) -> None:
    (training / "decode_test").mkdir(parents=True)
    conf = SPACE.resolve(path).to_conf()
    (training / "config.yaml").write_text(
        yaml.safe_dump({"encoder": "stnas", "encoder_conf": conf})
    )
    score = {"wer": wer, "cer": wer / 2}
    (training / "decode_test" / "score.yaml").write_text(yaml.safe_dump(score))


def run(root, *options: str) -> list[str]:
    """Report; the lines of errors.md."""
    names = ("search0", "search1", "train0", "train1", "other")
    places = [str(root / name) for name in names]
    stnas(["report", *places, *options, "--output", str(root / "out")])
    return (root / "out" / "errors.md").read_text().splitlines()


def test_errors_against_costs(experiments, capsys):
    lines = run(experiments, "--frames", "9")
    rows = [cells(line) for line in lines if line.startswith("| ")]
    # The other one was no architecture of a search, but of its warm-up.
    for values, kind in ((TABLE, "parameters of the encoder"), (MACS, "multiply-acc")):
        at = next(i for i, line in enumerate(lines) if f"against {kind}" in line)
        rows = [cells(line) for line in lines[at + 4 : at + 7]]
        costs = [f"{values.of(path):,.0f}" for path in ((1, 1), (0, 0), (1, 0))]
        targets = ["", "9", "9"] if values is TABLE else []
        assert rows == [
            ["other", "", *targets[:1], costs[0], "30.00", "yes"],
            ["train1", "1", *targets[1:2], costs[1], "20.00", "yes"],
            ["train0", "0", *targets[2:], costs[2], "10.00", "yes"],
        ]
    names = {p.name for p in (experiments / "out").iterdir()}
    assert {
        *("report.html", "table.md", "errors.md", "search1", "search2"),
        *(f"errors_decode_test_{kind}.png" for kind in ("params", "macs")),
    } == names
    page = (experiments / "out" / "report.html").read_text()
    assert "Errors on decode_test against parameters of the encoder" in page


def test_latency_and_other_errors(experiments):
    table = experiments / "latency.yaml"
    measured = measure_latency(SPACE, 4, 9, repeat=1)
    measured.write(table)
    options = ("--latency_table", str(table), "--metric", "cer", "--format", "svg")
    lines = run(experiments, *options)
    assert any(
        line.startswith("Errors on decode_test against micros") for line in lines
    )
    costs = measured.costs(SPACE, 4, table)
    row = next(cells(line) for line in lines[-4:] if "train0" in line)
    assert (row[-3], row[-2]) == (f"{costs.of((1, 0)):,.0f}", "5.00")
    figure = experiments / "out" / "errors_decode_test_latency.svg"
    assert figure.read_bytes().startswith(b"<?xml")


def test_a_latency_table_of_another_space(experiments):
    other = tiny_space(["tdnn-C1D1", "tdnn-C1D2"])
    measure_latency(other, 4, 9, repeat=1).write(experiments / "latency.yaml")
    with pytest.raises(SystemExit, match="latency.yaml is of another search space"):
        run(experiments, "--latency_table", str(experiments / "latency.yaml"))
    assert not (experiments / "out").exists()


def test_of_two_searches_with_an_architecture_the_nearer_one_counts(experiments):
    """As w0/search and w0/derived."""
    for name in ("search", "train"):
        for weight in (0, 1):
            place = experiments / f"w{weight}"
            place.mkdir(exist_ok=True)
            (experiments / f"{name}{weight}").rename(place / name)
    for weight in (0, 1):
        for file in ("config.yaml",):
            text = (experiments / "w0" / "train" / file).read_text()
            (experiments / f"w{weight}" / "train" / file).write_text(text)
        epoch = experiments / f"w{weight}" / "search" / "architectures" / "2epoch.yaml"
        data = yaml.safe_load(epoch.read_text())
        data["encoder_conf"] = SPACE.resolve((1, 0)).to_conf()
        epoch.write_text(yaml.safe_dump(data))
    summaries = [summarise(experiments / f"w{w}" / "search") for w in (1, 0)]
    trainings = [
        replace(open_training(place, name=str(w)), sizes=sizes(place))
        for w, place in ((w, experiments / f"w{w}" / "train") for w in (0, 1))
    ]
    points = points_of(summaries, trainings)["decode_test", "params"]
    assert [(p.name, p.weight) for p in points] == [("0", 0.0), ("1", 1.0)]


def test_errors_that_are_no_numbers(experiments):
    (experiments / "train0" / "decode_test" / "score.yaml").write_text("wer: good")
    with pytest.raises(SystemExit, match="wer is 'good'; accepted is a number from 0"):
        run(experiments)


def test_all_paths_have_points():
    points = [Point(str(p), TABLE.of(p), 1.0) for p in all_paths(SPACE)]
    assert [p.cost for p in pareto_front(points)] == [TABLE.minimum]
