from __future__ import annotations

import importlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from espnet_stnas.results.architecture import Architecture
from tests.conftest import tiny_space

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(*options):
    return subprocess.run(
        [sys.executable, BENCHMARKS / "encoders.py", *map(str, options)],
        capture_output=True,
        text=True,
    )


def run_tiny(folder, *options):
    path = folder / "numbers.json"
    sizes = ("--frames", 60, "--batch", 2, "--seconds", 1, "--repeat", 1)
    done = run(*sizes, *options, "--json", path)
    assert done.returncode == 0, done.stderr
    return done, json.loads(path.read_text())


@pytest.fixture
def encoder_conf(tmp_path):
    def write(**data):
        path = tmp_path / "arch.yaml"
        path.write_text(yaml.safe_dump(data))
        return path

    return write


@pytest.fixture
def main(monkeypatch):
    """The benchmark in this process: to refuse something needs no other interpreter."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("encoders").main


@pytest.fixture(scope="module")
def measure():
    spec = importlib.util.spec_from_file_location("measure", BENCHMARKS / "measure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_equal_parameters(tmp_path, encoder_conf):
    path = encoder_conf(encoder_conf={"width": 4, "layers": ["tdnn-C1D1"]})
    found = tmp_path / "found.yaml"
    Architecture(tiny_space("deltas", "tdnn-C1D2")).write(found)
    # All four can have this number; other small ones fall between two widths.
    done, result = run_tiny(
        tmp_path, "--encoder_conf", path, found, "--parameters", 340000
    )
    own, derived, *others = result["rows"]
    # convolution with bias, LayerNorm
    assert own["parameters"] == 40 * 3 * 4 + 4 + 2 * 4
    assert derived["encoder"] == str(found)
    assert derived["encoder_conf"]["layers"] == ["deltas-O2", "tdnn-C1D2"]
    assert [row["encoder"] for row in others] == [
        "conformer",
        "e_branchformer",
        "transformer",
        "vgg_rnn",
    ]
    for row in others:
        assert row["parameters"] == pytest.approx(340000, rel=0.03)
    for row in result["rows"]:
        assert row["step_relative"] > 0
        assert row["saved_relative"] > 0
        assert row["real_time_factor"] > 0
        assert row["peak_bytes"] is None
    assert own["step_relative"] == own["saved_relative"] == 1
    assert "| conformer | 337,984 |" in done.stdout
    assert "- ESPnet: 20" in done.stdout
    assert "peak memory" not in done.stdout
    assert "Flash" not in done.stdout
    assert "round 1 of 1 done" in done.stderr


def test_paper_rows(tmp_path):
    _, result = run_tiny(tmp_path, "--encoders")
    assert [row["parameters"] for row in result["rows"]] == [
        11_866_240,
        11_866_240,
        7_616_640,
    ]
    assert result["target"] == 11_866_240


FIXED = {"encoder_conf": {"width": 4, "layers": ["tdnn-C1D1"]}}


@pytest.mark.parametrize(
    "data, options, sentence",
    [
        (
            {"encoder_conf": {"layers": [["tdnn-C1D1", "tdnn-C1D2"]]}},
            (),
            "has 1 choices left; accepted is one operation in every layer",
        ),
        ({"encoder_conf": {"layers": ["tdn"]}}, (), "did you mean 'tdnn'?"),
        ({"encoder": "conformer"}, (), "for the encoder 'conformer'; accepted is"),
        ({"width": 4}, (), "no mapping under the key 'encoder_conf'; found 'width'"),
        (
            FIXED,
            ("--encoders", "conformr"),
            "unknown encoder 'conformr'; accepted are: conformer, e_branchformer",
        ),
        (FIXED, ("--repeat", 0), "--repeat is 0; accepted is 1 or more"),
        (FIXED, ("--threads", 0), "--threads is 0; accepted is 1 or more"),
        (FIXED, ("--parameters", 0), "--parameters is 0; accepted is 1 or more"),
        (
            FIXED,
            ("--encoders", "vgg_rnn", "--parameters", 60000),
            "the encoder vgg_rnn cannot have about 60,000 parameters: the nearest is",
        ),
    ],
)
def test_bad_input(main, encoder_conf, capsys, data, options, sentence):
    path = encoder_conf(**data)
    with pytest.raises(SystemExit, match=re.escape(sentence)):
        main(["--encoder_conf", str(path), *map(str, options)])
    assert capsys.readouterr().out == ""


def test_missing_file(main, tmp_path):
    with pytest.raises(SystemExit, match="none.yaml does not exist"):
        main(["--encoder_conf", str(tmp_path / "none.yaml")])


def test_saved_bytes_counts_each_storage_once(measure):
    weight = torch.randn(3, 5, requires_grad=True)
    xs = torch.randn(7, 3)

    def forward():
        ys = torch.tanh(xs @ weight)  # saves xs, weight, its result
        return (ys[:, :2] * ys[:, 2:4]).sum()  # saves two views of that result

    assert measure.saved_bytes(forward, [weight, xs]) == 7 * 5 * 4
    assert measure.saved_bytes(forward, [weight]) == (7 * 5 + 7 * 3) * 4


def test_interleaved_warms_up_and_shuffles(measure, capsys):
    calls = []
    tasks = {name: lambda name=name: calls.append(name) for name in "abc"}
    times = measure.interleaved(tasks, 4, torch.device("cpu"), seed=1)
    assert {name: len(values) for name, values in times.items()} == {
        "a": 4,
        "b": 4,
        "c": 4,
    }
    rounds = [tuple(calls[i : i + 3]) for i in range(0, 15, 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len(set(rounds)) > 1
    assert capsys.readouterr().err.count("done") == 5
