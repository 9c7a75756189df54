"""The worked example of docs/extending.md: its files are taken out of it and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import ESTIMATORS, build_estimator, register_estimator
from espnet_stnas.notation import plugins
from espnet_stnas.notation.families import FAMILIES, register_operation
from espnet_stnas.notation.family import RESERVED_NAMES, OpFamily, Option
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.spec import parse_op
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.supernet.supernet import build_supernet
from tests.conftest import tiny_space
from tests.ops import test_contract
from tests.ops.examples import all_examples

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


@pytest.fixture
def tables():
    """Put tables and memory of plugins back as they were."""
    tables = [(table, dict(table)) for table in (FAMILIES, ESTIMATORS)]
    plugins.load_plugins.cache_clear()
    yield
    for table, before in tables:
        table.clear()
        table.update(before)
    plugins.load_plugins.cache_clear()
    for name in [name for name in sys.modules if name.startswith("my_layers")]:
        del sys.modules[name]


def install(folder: Path, name: str, point: str) -> None:
    """Leave what pip would of a package, beside its code."""
    info = folder / f"{name}-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1")
    (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{point}\n")


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """A folder with the files of the page, as if pip had installed it."""
    folder = tmp_path_factory.mktemp("example")
    page = PAGE.read_text(encoding="utf-8")
    files = re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", page, re.M | re.S)
    tree = page.partition("```text")[2].partition("```")[0]
    listed = re.findall(r"^  (\S+)$", tree, re.M)
    assert set(listed) == dict(files).keys()
    for name, text in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    # Python 3.10 cannot read TOML.
    heading = f"[project.entry-points.{plugins.GROUP}]\n"
    point = dict(files)["pyproject.toml"].partition(heading)[2]
    install(folder, "my_layers", point.replace('"', "").strip())
    return folder


def test_the_example_runs_where_it_is_installed(example):
    """Its own script; then the parser of searches, and an architecture file."""
    space = SearchSpace.from_conf({"layers": ["tdnn-C1S3D1"], "width": 16})
    Architecture(space).write(example / "architecture.yaml")
    text = (example / "architecture.yaml").read_text()
    (example / "architecture.yaml").write_text(text.replace("tdnn-C1S3D1", "gated-C2"))
    (example / "more.py").write_text(
        "import contextlib, runpy\n"
        "from espnet_stnas.cli.main import main\n"
        "with contextlib.suppress(SystemExit):\n"
        "    main(['search', '--print_config', '--estimator', 'tempered'])\n"
        "main(['show', 'architecture.yaml'])\n"
        "runpy.run_path('try_it.py')\n"
    )
    result = subprocess.run(
        [sys.executable, "more.py"],
        capture_output=True,
        text=True,
        cwd=example,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([".", str(PAGE.parents[1])])},
    )
    assert result.returncode == 0, result.stderr
    # The options of a search, show, and the lengths that try_it.py prints.
    for expected in ("arch_fraction: 0.1", "gated-C2", "[17, 11]"):
        assert expected in result.stdout


def test_names_of_plugins_are_found_when_they_are_needed(example, monkeypatch, tables):
    monkeypatch.syspath_prepend(str(example))
    assert "gated" not in FAMILIES
    assert str(parse_op("gated", "here")) == "gated-C1"
    assert build_estimator("tempered", {"temperature": 2}).temperature == 2
    with pytest.raises(ConfigError, match="temperature is 0; accepted is a number abo"):
        build_estimator("tempered", {"temperature": 0})
    with pytest.raises(ConfigError, match="unknown operation 'gate' .did you mean 'ga"):
        parse_op("gate", "here")


def test_operations_of_plugins_are_in_the_suites(example, monkeypatch, tables):
    """They need no entry in a list: the suites enumerate the registry."""
    monkeypatch.syspath_prepend(str(example))
    plugins.load_plugins()
    found = [text for text in all_examples() if text.startswith("gated")]
    assert found == ["gated", "gated-C0", "gated-C3", "gated-C3W3"]
    for text in found:
        test_contract.test_shapes_and_lengths(text)
        test_contract.test_gradients_reach_all_parameters(text)
        test_contract.test_geometry_is_that_of_the_notation(text)


def test_a_plugin_that_cannot_be_imported_is_named(tmp_path, monkeypatch, tables):
    install(tmp_path, "broken", "broken = broken_layers.nowhere")
    monkeypatch.syspath_prepend(str(tmp_path))
    match = (
        r"the plugin 'broken_layers.nowhere' \(entry point 'broken' of the group "
        "'espnet_stnas'\\) cannot be imported: ModuleNotFoundError: No module named"
    )
    for _ in range(2):
        with pytest.raises(ConfigError, match=match):
            parse_op("gated", "here")
    assert str(parse_op("tdnn", "here")) == "tdnn-C1D1"


def test_names_are_registered_once(tables):
    for _ in range(2):
        register_operation(OpFamily("own", "package.own:Own"))
        register_estimator("own", "package.own:Own")
    with pytest.raises(ConfigError, match="operation 'tdnn' is 'espnet_stnas.ops.tdnn"):
        register_operation(OpFamily("tdnn", "package.own:Own"))
    with pytest.raises(ConfigError, match="estimator 'own' is 'package.own:Own' alrea"):
        register_estimator("own", "package.own:Other")


@pytest.mark.parametrize("name", ["Own", "own-c", "own+c", "own.c", "", "1d"])
def test_names_that_cannot_be_written_are_refused(name, tables):
    with pytest.raises(ConfigError, match=f"operation '{re.escape(name)}' cannot be r"):
        register_operation(OpFamily(name, "package.own:Own"))


@pytest.mark.parametrize("name", ["half", "train", "forward", "logits"])
def test_names_of_attributes_of_layers_are_refused(name, tables):
    with pytest.raises(ConfigError, match=f"'{name}' cannot be registered, since torc"):
        register_operation(OpFamily(name, "package.own:Own"))


def test_all_attributes_of_layers_are_reserved():
    """Those of every kind of layer, of the torch that is installed."""
    network = build_supernet(tiny_space("tdnn", ["tdnn", "zero"]), 3)
    for layer in network.layers:
        candidates = [str(op) for op in layer.layer.candidates]
        names = {n for n in dir(layer) if re.fullmatch("[a-z][a-z0-9_]*", n)}
        assert names - set(candidates) <= RESERVED_NAMES


@pytest.mark.parametrize("codes", ["c", "CC", ["CD"]])
def test_codes_that_cannot_be_read_are_refused(codes, tables):
    options = tuple(Option(f"o{n}", code, 1) for n, code in enumerate(codes))
    with pytest.raises(ConfigError, match="accepted is one capital letter for each op"):
        register_operation(OpFamily("own", "package.own:Own", options))
