"""The command: what it selects, writes and refuses."""

from __future__ import annotations

import csv
import json
import shutil
from contextlib import nullcontext

import pytest
import torch
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.cost.counts import parameter_table
from espnet_stnas.cost.latency import measure_latency
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.health import Health, Sample, write_health
from espnet_stnas.selection import evaluate as evaluation
from espnet_stnas.selection.evaluate import Evaluator
from espnet_stnas.selection.evaluation import Evaluation
from espnet_stnas.selection.evolution import Evolution
from espnet_stnas.selection.limits import Measures
from espnet_stnas.selection.paths import all_paths, path_name
from espnet_stnas.selection.probable import log_probabilities, log_probability
from espnet_stnas.selection.select import Selector
from tests.conftest import tiny_space


def select(exp, *options: object) -> None:
    stnas(["select", str(exp), *map(str, options)])


@pytest.fixture(scope="module")
def every(plain_search):
    """All architectures of the search: layers, parameters, probability, result."""
    experiment = SearchExperiment.open(plain_search)
    paths = all_paths(experiment.space)
    found = Evaluator(experiment)(paths)
    table = parameter_table(experiment.space, 8)
    pi = experiment.architecture().provenance.probabilities
    log_pi = log_probabilities([list(p.values()) for p in pi])
    return {
        path_name(experiment.space, path): (
            table.of(path),
            log_probability(log_pi, path),
            result,
        )
        for path, result in zip(paths, found, strict=True)
    }


def selected(capsys) -> list[str]:
    found = json.loads(capsys.readouterr().out)["architectures"]
    return [" ".join(row["layers"]) for row in found]


def within(every, most):
    return [name for name, (cost, _, _) in every.items() if cost <= most]


@pytest.mark.parametrize("most", (540, 612, 684))
def test_each_way_is_right_about_the_best(plain_search, every, capsys, most):
    limits = ("--max", f"params={most}", "--top", "3", "--json")
    select(plain_search, *limits, "--by", "probability")
    by_pi = sorted(within(every, most), key=lambda name: -every[name][1])
    assert selected(capsys) == by_pi[:3]
    select(plain_search, *limits, "--by", "supernet")
    by_loss = sorted(within(every, most), key=lambda name: every[name][2].loss)
    assert selected(capsys) == by_loss[:3]
    select(plain_search, *limits, "--shortlist", "5")
    short = sorted(by_pi[:5], key=lambda name: every[name][2].loss)
    assert selected(capsys) == short[:3]


def test_files_say_how_they_were_selected(plain_search, every, tmp_path, capsys):
    (tmp_path / "train.yaml").write_text("optim: adam\nfrontend_conf: {n_mels: 8}\n")
    options = (
        "--max",
        "params=95%",
        "--max",
        "lookahead=800",
        "--frame_shift",
        "8",
        "--top",
        "2",
    )
    options += ("--metric", "error_rate", "--train_config", tmp_path / "train.yaml")
    select(plain_search, *options, "--output", tmp_path / "out")
    printed = capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("1.yaml", "2.yaml", "train_1.yaml", "train_2.yaml"),
    ]
    rates = []
    for rank in (1, 2):
        found = Architecture.read(tmp_path / "out" / f"{rank}.yaml")
        note = found.provenance.others["selected"]
        layers = [str(layer.candidates[0]) for layer in found.space.layers]
        name = " ".join(layers[1:])
        assert name in printed
        cost, _, result = every[name]
        assert (note["by"], note["metric"], note["rank"]) == (
            "both",
            "error_rate",
            rank,
        )
        assert note["max"] == {"params": pytest.approx(0.95 * 684), "lookahead": 800.0}
        assert note["costs"]["params"] == cost <= 0.95 * 684
        assert note["error_rate"] == result.error_rate
        rates.append(result.error_rate)
        trained = yaml.safe_load((tmp_path / "out" / f"train_{rank}.yaml").read_text())
        assert trained["encoder_conf"] == found.space.to_conf()
        assert trained["optim"] == "adam"
    assert rates == sorted(rates)
    # It can be derived from again, as any architecture file.
    stnas(["derive", str(tmp_path / "out" / "1.yaml"), "--output", f"{tmp_path}/again"])
    again = Architecture.read(tmp_path / "again")
    assert again == Architecture.read(tmp_path / "out" / "1.yaml")


def test_one_file_as_of_derive(plain_search, every, tmp_path, capsys):
    (tmp_path / "train.yaml").write_text("optim: adam\n")
    options = ("--output", tmp_path / "a.yaml", "--train_config")
    options += (tmp_path / "train.yaml", "--train_output", tmp_path / "b.yaml")
    select(plain_search, "--max", "params=612", *options, "--json")
    printed = json.loads(capsys.readouterr().out)
    assert printed["files"] == [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    conf = Architecture.read(tmp_path / "a.yaml").space.to_conf()
    assert yaml.safe_load((tmp_path / "b.yaml").read_text())["encoder_conf"] == conf
    assert conf["layers"][1:] == printed["architectures"][0]["layers"]
    assert printed["architectures"][0]["costs"]["params"] <= 612


def test_an_untrained_supernet_is_said_by_the_exit_code(plain_search, tmp_path, capsys):
    exp = tmp_path / "copy"
    shutil.copytree(plain_search, exp)
    for error, code in ((0.99, 3), (0.2, None)):
        sample = Sample(2, 4, 8, 5.0, 1.0, 0.1, error=error)
        write_health(exp, Health((sample,)))
        with pytest.raises(SystemExit) if code else nullcontext() as end:
            select(exp, "--by", "probability", "--output", tmp_path / "a.yaml")
        printed = capsys.readouterr().out
        assert ("warning: the supernet is not trained" in printed) == bool(code)
        assert code is None or end.value.code == code
        assert (tmp_path / "a.yaml").exists()


def test_front(plain_search, every, tmp_path, capsys):
    select(plain_search, "--front", "params,loss", "--output", tmp_path, "--json")
    found = json.loads(capsys.readouterr().out)
    names = [" ".join(row["layers"]) for row in found["architectures"]]
    points = {name: (cost, result.loss) for name, (cost, _, result) in every.items()}
    expected = [
        name
        for name, (cost, loss) in points.items()
        if not any(
            c <= cost and x <= loss and (c, x) != (cost, loss)
            for c, x in points.values()
        )
    ]
    assert sorted(names) == sorted(expected) and len(names) > 1
    assert found["evaluated"] == 12 and 0 < found["hypervolume"] < 1
    rows = list(csv.DictReader((tmp_path / "points.csv").open()))
    assert {row["architecture"] for row in rows} == set(points)
    assert {r["architecture"] for r in rows if r["front"] == "1"} == set(expected)
    for row in rows:
        point = float(row["params"]), float(row["loss"])
        assert point == points[row["architecture"]]
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    for rank in range(1, len(names) + 1):
        assert Architecture.read(tmp_path / f"{rank}.yaml").space.is_architecture


def test_three_objectives(plain_search, tmp_path, capsys):
    options = ("--front", "params,field,error_rate", "--max", "field=35", "--json")
    select(plain_search, *options, "--output", tmp_path)
    found = json.loads(capsys.readouterr().out)["architectures"]
    assert found and all(row["costs"]["field"] <= 35 for row in found)
    assert (tmp_path / "front.png").exists()


def test_evolution_logs_what_it_evaluates(plain_search, tmp_path, capsys):
    """Fewer than all, the same for the same seed, and none of them twice."""
    exp = tmp_path / "copy"
    shutil.copytree(plain_search, exp)
    file = exp / "evaluations" / "valid.csv"
    options = ("--by", "supernet", "--population", "3", "--generations", "2", "--json")
    texts = []
    for seed in (1, 1, 2):
        shutil.rmtree(exp / "evaluations", ignore_errors=True)
        select(exp, *options, "--seed", seed)
        texts.append(file.read_text())
        assert 3 < len(texts[-1].splitlines()) <= 1 + 9
    assert texts[0] == texts[1] != texts[2]
    before = file.read_text()
    select(exp, *options, "--seed", 2)
    assert file.read_text() == before


def test_latencies_of_the_search_or_of_a_file(plain_search, tmp_path, capsys):
    exp = tmp_path / "copy"
    shutil.copytree(plain_search, exp)
    space = SearchExperiment.open(exp).space
    table = tmp_path / "latency.yaml"
    measure_latency(space, 8, 50, repeat=1).write(table)
    options = ("--by", "probability", "--max", "latency=100%", "--json")
    with pytest.raises(SystemExit, match="latencies are not known; give --latency_tab"):
        select(exp, *options)
    select(exp, *options, "--latency_table", table)
    first = capsys.readouterr().out
    config = yaml.safe_load((exp / "config.yaml").read_text())
    config["cost_conf"] = {"kind": "latency", "weight": 0, "table": str(table)}
    (exp / "config.yaml").write_text(yaml.safe_dump(config))
    select(exp, *options)
    assert capsys.readouterr().out == first
    with pytest.raises(SystemExit, match="was measured on .*latency_device is 'TPU'"):
        select(exp, *options, "--latency_device", "TPU")
    with pytest.raises(SystemExit, match="and latency_runtime is 'onnxruntime'; measu"):
        select(exp, *options, "--latency_runtime", "onnxruntime")
    with pytest.raises(SystemExit, match="and latency_precision is 'int8'; measure it"):
        select(exp, *options, "--latency_precision", "int8")
    measured = json.loads(first)["measured"]["latency"]
    assert measured.startswith(f"torch {torch.__version__}, fp32, 1 CPU thread(s), ")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--max", "params=9"), "max params=9: no arch.* the cheapest has 540 param"),
        (("--max", "pages=9"), "max is 'pages=9'; accepted are params, macs, latency"),
        (("--max", "params=8MB"), "max: params is '8MB'; accepted is a number above 0"),
        (
            ("--front", "params"),
            "front is 'params'; accepted are two or more of params",
        ),
        (("--front", "loss,cost"), "front is 'loss,cost'; accepted are two or more"),
        (("--front", "loss,loss"), "front is 'loss,loss'; accepted are two or more"),
        (("--top", "0"), "top is 0; accepted is an integer from 1"),
        (("--shortlist", "0"), "shortlist is 0; accepted is an integer from 1"),
        (("--population", "1"), "population is 1; accepted is an integer from 2"),
        (("--epoch", "1"), "epoch 1 of .* belongs to the warm-up"),
        (("--epoch", "9"), "epoch 9 is not in"),
        (
            ("--metric", "accuracy"),
            "the model has no accuracy; accepted are: loss, err",
        ),
    ],
)
def test_what_is_refused(plain_search, tmp_path, options, problem):
    with pytest.raises(SystemExit, match=f"^error: {problem}"):
        select(plain_search, *options, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_templates_are_checked_first(plain_search, tmp_path, capsys):
    (tmp_path / "search.yaml").write_text("warmup_epochs: 1\n")
    options = ("--train_config", tmp_path / "search.yaml")
    with pytest.raises(SystemExit, match="has the key 'warmup_epochs', which belongs"):
        select(plain_search, *options, "--output", tmp_path / "out")
    capsys.readouterr()
    for wrong, problem in (
        ((), "--train_config needs --output or --train_output"),
        (("--output", "a.yaml"), "--train_config needs --train_output, or a dir"),
        (("--train_output", "b.yaml", "--top", "2"), "hold one architecture"),
        (("--train_output", "b.yaml", "--front", "params,loss"), "hold one arch"),
    ):
        with pytest.raises(SystemExit, match="2"):
            select(plain_search, *options, *wrong)
        assert problem in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        select(plain_search, "--train_output", "b.yaml")
    assert "--train_output needs --train_config" in capsys.readouterr().err
    assert evaluation.CALIBRATION == 20  # as the help says


def test_a_search_that_has_finished_no_epoch(plain_search, tmp_path):
    (tmp_path / "exp").mkdir()
    shutil.copy(plain_search / "config.yaml", tmp_path / "exp" / "config.yaml")
    with pytest.raises(SystemExit, match="the search has not finished an epoch yet"):
        select(tmp_path / "exp")


def test_more_architectures_than_can_be_counted():
    """The evolution then starts from draws, and every one keeps the limits."""
    candidates = [f"tdnn-C{c}D{d}" for c in (0, 1, 2, 3) for d in (1, 2)]
    space = tiny_space("tdnn", *[candidates] * 12)
    log_pi = log_probabilities([[1 / 8] * 8] * 12)
    measures = Measures(space, 4)
    limits = [measures.limit("params=70%"), measures.limit("field=45")]
    selector = Selector(space, log_pi, limits, [measures["params"]])
    seen = []

    def evaluate(paths):
        seen.extend(paths)
        # Late wide contexts are good.
        return [Evaluation(-sum(n * k for n, k in enumerate(path))) for path in paths]

    options = Evolution(20, 15)
    best, second = selector.by_supernet(evaluate, "loss", options, 2)
    assert (
        best.evaluation.loss
        <= second.evaluation.loss
        == sorted(result.loss for result in evaluate(dict.fromkeys(seen)))[1]
    )
    assert all(limit.allows(path) for limit in limits for path in seen)
    assert best.evaluation.loss < min(r.loss for r in evaluate(seen[:20]))
