"""The zoo: what it lists is what was measured, and can be built."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.collection import resolve, zoo_names

ROOT = Path(__file__).parents[2]
TABLES = sorted((ROOT / "benchmarks" / "tables").glob("*_evidence*.csv"))


@pytest.mark.parametrize("name", zoo_names())
def test_an_architecture_is_built_and_trained(name):
    architecture = Architecture.read(f"zoo:{name}")
    size = architecture.provenance.input_size
    encoder = STNASEncoder(size, **architecture.space.to_conf())
    outputs, _, _ = encoder(torch.randn(2, 40, size), torch.tensor([40, 31]))
    outputs.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in encoder.parameters() if p.dim() > 1)


def test_all_come_from_tables(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    made = dict(map(importlib.import_module("zoo").entry, TABLES))
    assert sorted(made) == zoo_names()
    for name, expected in made.items():
        assert Architecture.read(f"zoo:{name}") == expected


def test_the_list(capsys):
    stnas(["zoo"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(zoo_names())
    stnas(["zoo", "--json"])
    first = json.loads(capsys.readouterr().out)["architectures"][0]
    assert first["name"] in lines[1] and f"{first['parameters']:,}" in lines[1]
    path = resolve(first["name"])
    space = Architecture.read(path).space
    size = Architecture.read(path).provenance.input_size
    encoder = STNASEncoder(size, **space.to_conf())
    assert sum(p.numel() for p in encoder.parameters()) == first["parameters"]


@pytest.mark.parametrize("name", ("zoo:", "zoo:x", "zoo:../zoo/x"))
def test_an_unknown_name(name):
    with pytest.raises(ConfigError, match="the zoo has no .*; accepted are: fsdd-hard"):
        Architecture.read(name)


def test_a_training_yaml_takes_it(tmp_path):
    (tmp_path / "train.yaml").write_text("optim: adam\n")
    words = ["--train_config", str(tmp_path / "train.yaml")]
    words += ["--train_output", str(tmp_path / "out.yaml")]
    stnas(["derive", f"zoo:{zoo_names()[0]}", *words])
    assert "encoder: stnas" in (tmp_path / "out.yaml").read_text()
