"""Imports go one way, and light modules stay light."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import espnet_stnas

PACKAGE = Path(espnet_stnas.__file__).parent

# Modules (or packages) and what they may import of ours, at the top or inside.
ALLOWED = {
    "version": set(),
    "registry": {"crf", "encoder"},
    "messages": set(),
    "family": {"messages"},
    "plugins": {"family", "messages"},
    "families": {"family", "plugins"},
    "spec": {"families", "family", "messages", "plugins"},
    "topology": {"messages", "spec"},
    "shapes": {"messages", "spec", "topology"},
    "space": {"messages", "shapes", "spec", "topology"},
    "files": {"messages", "spec"},
    "errors": {"files", "messages", "spec"},
    "lengths": set(),
    "compat": {"spec"},
    "ops": {"ops", "spec", "lengths", "compat"},
    "estimators": {"estimators", "plugins", "spec"},
    "network": {"ops", "lengths", "space", "spec", "supernet", "topology"},
    "scoring": {"estimators", "lengths", "ops"},
    "choice": {"network", "scoring", "estimators", "lengths", "space"},
    "supernet": {"choice", "network", "estimators", "space"},
    "cost": {
        *("cost", "architecture", "estimators", "files", "messages", "network"),
        *("ops", "progress", "space", "spec", "topology", "version"),
    },
    "crf": {"crf", "files", "messages", "spec"},
    "lexicon": {"files", "messages", "spec"},
    "trained": {"files", "messages", "spec"},
    "decoding": {
        *("compat", "decoding", "files", "lexicon", "messages", "spec", "trained"),
    },
    "loading": set(),
    "saving": {"files"},
    "encoder": {"network", "loading", "space", "spec"},
    "architecture": {"messages", "space", "spec", "files", "version"},
    "certainty": {"architecture"},
    "curves": {"architecture", "files"},
    "layer_table": {"architecture", "certainty", "space", "streaming"},
    "show": {
        *("architecture", "files", "layer_table", "messages", "space", "spec"),
        "streaming",
    },
    "derive": {"architecture", "certainty", "files", "messages", "spec"},
    "streaming": {"space", "spec", "topology"},
    "weights": {"files", "space", "spec"},
    "inherit": {"architecture", "files", "search.experiment", "spec", "weights"},
    "export": {"encoder", "files", "lengths", "messages", "ops", "spec"},
    "baselines": {"architecture", "messages", "space", "spec"},
    "report": {
        *("report", "architecture", "certainty", "curves", "files", "layer_table"),
        *("messages", "score", "search.experiment", "space", "spec", "streaming"),
        *("topology", "version"),
    },
    "score": {"files", "messages", "spec"},
    "reference": {"files", "messages", "space", "spec"},
    "results": {"files", "messages", "score", "spec", "trained"},
    "progress": set(),
    "corpus": {"corpus", "progress"},
}
NO_TORCH = ("version", "registry", "spec", "space", "files", "errors", "architecture")
NO_TORCH += ("derive", "baselines", "report", "score", "corpus", "search/experiment")
NO_TORCH += ("messages", "family", "families", "plugins")
NO_TORCH += ("certainty", "shapes", "topology", "reference")
NO_TORCH += ("streaming", "curves", "layer_table", "show", "progress")
NO_ESPNET = ("ops", "estimators", "network", "choice", "supernet", "loading", "lengths")
NO_ESPNET += ("scoring", "cost")
NO_TORCH += ("lexicon", "decoding/topology", "decoding/beam", "decoding/word_lm")
NO_TORCH += ("decoding/data", "decoding/output")
NO_TORCH += ("crf/arpa", "crf/estimate", "crf/lm", "crf/graph")
NO_ESPNET += ("crf/sparse", "crf/denominator", "crf/loss", "crf/criterion")


def files(name: str) -> list[Path]:
    path = PACKAGE / name
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imported(path: Path) -> set[str]:
    """All modules that a file imports, anywhere in it but for type checkers."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def own(path: Path) -> set[str]:
    return {
        name.removeprefix("espnet_stnas.")
        for name in imported(path)
        if name.startswith("espnet_stnas.")
    }


@pytest.mark.parametrize("name", ALLOWED)
def test_arrows_go_downwards(name):
    for path in files(name):
        for module in own(path):
            allowed = module in ALLOWED[name] or module.split(".")[0] in ALLOWED[name]
            assert allowed, f"{path.name} imports {module}"


def test_every_module_has_its_place():
    names = {p.stem if p.is_file() else p.name for p in PACKAGE.iterdir()}
    above = {"__init__", "__pycache__", "search", "bin", "run", "py"}
    assert names - above == set(ALLOWED)


@pytest.mark.parametrize("name", NO_TORCH)
def test_light_modules_import_neither_torch_nor_espnet(name):
    for path in files(name):
        roots = {m.split(".")[0] for m in imported(path)}
        assert not roots & {"torch", "torchaudio", "espnet", "espnet2"}, path.name


@pytest.mark.parametrize("name", NO_ESPNET)
def test_the_core_does_not_know_espnet(name):
    for path in files(name):
        assert not {m for m in imported(path) if m.startswith("espnet2")}, path.name


def test_files_are_short():
    for path in PACKAGE.rglob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 330, f"{path.name} has {lines} lines"
