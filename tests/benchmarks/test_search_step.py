"""The benchmark of steps, at a size where only its structure can be tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = ("--width", "8", "--batch", "2", "--frames", "20", "--input_size", "6")
TINY += ("--repeat", "1", "--draws", "3")


def run(script, *options):
    return subprocess.run(
        [sys.executable, BENCHMARKS / script, *map(str, options)],
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "numbers.json"
    done = run("search_step.py", *TINY, "--candidates", 2, 4, "--json", path)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())["results"]


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


def test_any_encoder_conf(tmp_path):
    path = tmp_path / "mine.yaml"
    layers = ["tdnn", ["tdnn-C1Nbn", "identity"], ["tdnn-C2", "zero", "tdnn"]]
    path.write_text(
        yaml.safe_dump(
            {"encoder_conf": {"layers": layers, "width": 6, "residual": True}}
        )
    )
    options = ("--steps", "joint", "proxyless", "--without", "proxyless")
    done = run("search_step.py", *TINY, "--encoder_conf", path, *options)
    assert done.returncode == 0, done.stderr
    assert "| step | mine |" in done.stdout
    assert "joint step, st, N = 2" in done.stdout
    assert "proxyless |" not in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--encoder_conf", "no.yaml"), "no.yaml"),
        (("--steps", "nothing"), "--steps is 'nothing', which no step that is left"),
        (("--repeat", "0"), "--repeat is 0; accepted is 1 or more"),
        (("--threads", "0"), "--threads is 0; accepted is 1 or more"),
    ],
)
def test_bad_input(options, message):
    done = run("search_step.py", *TINY, *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_space_without_choice(tmp_path):
    path = tmp_path / "fixed.yaml"
    path.write_text(yaml.safe_dump({"layers": ["tdnn"], "width": 6}))
    done = run("search_step.py", *TINY, "--encoder_conf", path)
    assert "error: encoder_conf: layers holds no choice to search" in done.stderr


def test_bias_table(tmp_path):
    """With few draws: what is deterministic or proved elsewhere must show up."""
    path = tmp_path / "numbers.json"
    done = run("estimators.py", "--draws", 200, "--json", path)
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())["results"]
    assert found["uniform"]["bias"] == pytest.approx(1.0)
    assert found["darts"]["variance"] == pytest.approx(0, abs=1e-20)
    for name, result in found.items():
        assert f"| {name} |" in done.stdout
        if name.startswith("st,") and "renormalise" not in name:
            # Unbiased against st: the same expectation, within 5 standard errors.
            error = 5 * (result["bias_error"] + found["st"]["bias_error"])
            assert abs(result["bias"] - found["st"]["bias"]) < error
    assert (
        found["st"]["variance"]
        < found["st, N = 3, unbiased"]["variance"]
        < found["st, N = 2, unbiased"]["variance"]
    )
    assert run("estimators.py", "--draws", 1).returncode == 1


def test_layouts_of_convolutions():
    """That both compute the same is checked before anything is timed."""
    done = run("convolution.py", "--repeat", 1, "--operations", "tdnn-C1D2")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "| tdnn-C1D2 |" in line]
    assert len(rows) == 3
    bad = run("convolution.py", "--operations", "identity")
    assert "'identity' is not a tdnn" in bad.stderr
