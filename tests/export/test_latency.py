"""Latencies of layers in onnxruntime."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.cost.latency_table import LatencyTable
from espnet_stnas.export import latency
from tests.conftest import tiny_space

pytest.importorskip("onnxruntime", reason="needs extra 'export'")
pytest.importorskip("onnxscript", reason="needs extra 'export'")
SPACE = tiny_space("tdnn-C0S2D1", ["tdnn-C1D1", "identity"], "norm")


def run(tmp_path, *options: str, space=SPACE) -> LatencyTable:
    conf = {"encoder": "stnas", "encoder_conf": space.to_conf()}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(conf))
    table = tmp_path / "latency.yaml"
    words = ["--output", str(table), "--runtime", "onnxruntime", "--repeat", "2"]
    words += ["--input_size", "3", "--frames", "9"]
    stnas(["measure-latency", str(tmp_path / "space.yaml"), *words, *options])
    return LatencyTable.read(table)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_table_says_what_ran(tmp_path, precision, capsys, monkeypatch):
    quantised = []
    int8 = latency.int8_bytes

    def noted(data, **options):
        quantised.append(b"ConvInteger" in int8(data, **options))
        return int8(data, **options)

    monkeypatch.setattr(latency, "int8_bytes", noted)
    table = run(tmp_path, "--precision", precision)
    assert (table.runtime, table.precision) == ("onnxruntime", precision)
    assert f"onnxruntime {table.runtime_version}, {precision}, 1 CPU thread(s)" in (
        capsys.readouterr().out
    )
    # Both tdnn; neither identity nor norm.
    assert sorted(quantised) == [False, False, True, True] * (precision == "int8")
    assert all(t > 0 for layer in table.layers for t in layer.values())
    assert table.costs(SPACE, 3, "t").minimum > 0


def test_what_is_refused(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="accepted with runtime 'onnxruntime' is 'cpu"):
        run(tmp_path, "--device", "cuda")
    with pytest.raises(SystemExit, match="operation 'lstm' cannot be exported"):
        run(tmp_path, space=tiny_space("tdnn", "lstm"))

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(latency, "version", missing)
    with pytest.raises(SystemExit, match="'onnxruntime' needs the package onnxruntime"):
        run(tmp_path)
    assert not (tmp_path / "latency.yaml").exists()
