from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from espnet_stnas.cost.counts import parameter_table
from espnet_stnas.cost.latency import TORCH, measure_latency
from tests.conftest import tiny_space

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SPACE = tiny_space(["tdnn-C1D1", "identity"], "tdnn-C0D1", ["tdnn-C1D1", "identity"])


@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
def test_the_tables(tmp_path, name):
    runtime = TORCH
    if name == "onnxruntime":
        pytest.importorskip("onnxruntime", reason="needs extra 'export'")
        from espnet_stnas.export.latency import onnx_runtime

        runtime = onnx_runtime("int8", "cpu", 1)
    (tmp_path / "space.yaml").write_text(
        yaml.safe_dump({"encoder_conf": SPACE.to_conf()})
    )
    found = measure_latency(SPACE, 4, 9, repeat=1, runtime=runtime)
    found.write(tmp_path / "latency.yaml")
    done = subprocess.run(
        [
            *(sys.executable, BENCHMARKS / "cost.py", "--repeat", "1"),
            *("--space", tmp_path / "space.yaml", "--input_size", "4"),
            *("--frames", "9", "--latency_table", tmp_path / "latency.yaml"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    table = parameter_table(SPACE, 4)
    fixed = next(line for line in lines if line.startswith("| fixed layers"))
    assert fixed.split("|")[3].strip() == f"{table.fixed:,.0f}"
    # Both choices are alike.
    assert sum(line.startswith("| 1, 3 | ") for line in lines) == 2
    whole = [line for line in lines if line.startswith("| most expensive")]
    assert len(whole) == 2
