"""The benchmark of steps, at a size where only its structure can be tested."""

from __future__ import annotations

import importlib
import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
import yaml

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = ("--width", "8", "--batch", "2", "--frames", "20", "--input_size", "6")
TINY += ("--repeat", "1", "--draws", "3")


@pytest.fixture(scope="module")
def run():
    """Runs a script in this process: its output, or the sentence it ends with."""
    threads = torch.get_num_threads()

    def call(script, *options):
        main = importlib.import_module(script).main
        with redirect_stdout(io.StringIO()) as out:
            try:
                main([str(option) for option in options])
            except SystemExit as end:
                return str(end)
        return out.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield call
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def results(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "numbers.json"
    text = run("search_step", *TINY, "--candidates", 2, 4, "--json", path)
    return text, json.loads(path.read_text())["results"]


def test_saved_bytes_do_not_depend_on_k(results):
    """Counted, not timed: true at every size."""
    _, found = results
    assert list(found) == ["K = 2", "K = 4"]
    for name, two in found["K = 2"].items():
        four = found["K = 4"][name]
        # Vectors of K numbers; mixtures and the reference keep all K outputs.
        kept = any(word in name for word in ("reference", "darts", "snas"))
        assert (four["saved_bytes"] > 1.5 * two["saved_bytes"]) == kept, name
        if name.startswith("architecture step, st"):
            assert two["saved"] < 1
        if name in ("weight step", "joint step, st", "joint step, st, N = 2"):
            assert two["saved"] < 1.2


def test_every_table_and_number_is_there(results):
    text, found = results
    for title in ("Time, ratio", "Bytes saved", "Peak memory", "Variance", "Time x va"):
        assert f"\n{title}" in text
    for result in found["K = 4"].values():
        assert result["seconds"] > 0
        assert result["time"] > 0
    sampled = found["K = 4"]["architecture step, st, N = 2"]
    assert sampled["variance_even"] > 0
    assert sampled["variance_uneven"] > 0
    assert found["K = 4"]["architecture step, st"]["variance_even"] == 1
    assert "variance_even" not in found["K = 4"]["weight step"]
    half = found["K = 4"]["architecture step, st, bfloat16 scores"]
    assert 0 < half["error"] < 0.1


def test_any_encoder_conf(run, tmp_path):
    path = tmp_path / "mine.yaml"
    layers = ["tdnn", ["tdnn-C1Nbn", "identity"], ["tdnn-C2", "zero", "tdnn"]]
    path.write_text(
        yaml.safe_dump(
            {"encoder_conf": {"layers": layers, "width": 6, "residual": True}}
        )
    )
    options = ("--steps", "joint", "proxyless", "--without", "proxyless")
    text = run("search_step", *TINY, "--encoder_conf", path, *options)
    assert "| step | mine |" in text
    assert "joint step, st, N = 2" in text
    assert "proxyless |" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--encoder_conf", "no.yaml"), "no.yaml"),
        (("--steps", "nothing"), "--steps is 'nothing', which no step that is left"),
        (("--repeat", "0"), "--repeat is 0; accepted is 1 or more"),
        (("--threads", "0"), "--threads is 0; accepted is 1 or more"),
    ],
)
def test_bad_input(run, options, message):
    found = run("search_step", *TINY, *options)
    assert found.startswith("error: ")
    assert message in found


def test_a_space_without_choice(run, tmp_path):
    path = tmp_path / "fixed.yaml"
    path.write_text(yaml.safe_dump({"layers": ["tdnn"], "width": 6}))
    found = run("search_step", *TINY, "--encoder_conf", path)
    assert found == "error: encoder_conf: layers holds no choice to search"


def test_bias_table(run, tmp_path):
    """With few draws: what is deterministic or proved elsewhere must show up."""
    path = tmp_path / "numbers.json"
    text = run("estimators", "--draws", 200, "--json", path)
    found = json.loads(path.read_text())["results"]
    assert found["uniform"]["bias"] == pytest.approx(1.0)
    assert found["darts"]["variance"] == pytest.approx(0, abs=1e-20)
    for name, result in found.items():
        assert f"| {name} |" in text
        if name.startswith("st,"):
            # Unbiased against st: the same expectation, within 5 standard errors.
            error = 5 * (result["bias_error"] + found["st"]["bias_error"])
            assert abs(result["bias"] - found["st"]["bias"]) < error
    assert (
        found["st"]["variance"]
        < found["st, N = 3"]["variance"]
        < found["st, N = 2"]["variance"]
    )
    assert run("estimators", "--draws", 1).startswith("error: --draws is 1; accepted")


def test_layouts_of_convolutions(run, monkeypatch):
    """That both compute the same is checked before anything is timed."""
    sizes = [(16, 2, 30), (32, 1, 50)]
    monkeypatch.setattr(importlib.import_module("convolution"), "SIZES", sizes)
    text = run("convolution", "--repeat", 1, "--operations", "tdnn-C1D2")
    assert len([line for line in text.splitlines() if "| tdnn-C1D2 |" in line]) == 2
    bad = run("convolution", "--operations", "identity")
    assert bad.startswith("error: --operations: 'identity' is not a tdnn")


def test_hours_of_the_recipes(run):
    table = run("hours", "--batch", 1, "--frames", 12, "--repeat", 1)
    rows = [line.split(" | ") for line in table.splitlines() if " h x 3 | " in line]
    assert rows[0][0] == "| wsj"
    for _, _, share, search, training in rows:
        ratio = float(search) / float(training.rstrip(" |"))
        assert float(share) == pytest.approx(ratio, abs=0.02)
    hours = importlib.import_module("hours")
    plan = hours.plan_of(
        {"max_epoch": 60, "warmup_epochs": 10, "arch_fraction": 0.1}, {"max_epoch": 80}
    )
    assert plan == (54, 5, 80)
