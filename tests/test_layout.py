"""Imports go downwards from room to room, and light modules stay light."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import espnet_stnas

PACKAGE = Path(espnet_stnas.__file__).parent

GROUND = {"version", "messages", "errors", "files"}
# Rooms, from the ground up, and what each may import of ours besides the ground.
ROOMS: dict[str, set[str]] = {
    "notation": set(),
    "ops": {"notation"},
    "network": {"notation", "ops"},
    "estimators": {"notation.plugins"},
    "supernet": {"notation", "ops", "network", "estimators"},
    "results": {"notation", "network", "supernet"},
    "cost": {"notation", "ops", "network", "estimators", "results"},
    "host": {"notation", "ops.espnet", "network", "supernet"},
    "export": {"ops", "host"},
    "ctc_crf": {"host"},
    "report": {"notation", "results", "cost", "host"},
    "search": {
        *("notation", "ops", "estimators", "supernet", "results", "cost", "host"),
        "report",
    },
    "cli": {
        *("notation", "network", "results", "cost", "host", "export", "ctc_crf"),
        *("report", "search"),
    },
}
# The flat modules, from the ground up, and what each may import.
FLAT: dict[str, set[str]] = {
    "version": set(),
    "messages": set(),
    "errors": {"messages"},
    "files": {"errors", "messages"},
    # Beside these, names that are imported when they are used.
    "__init__": {
        *("host.registry", "version", "estimators", "network", "notation"),
        *("results", "supernet"),
    },
    "run": {"errors", "files", "host", "results.search_options", "search"},
    "__main__": {"cli"},
}
NO_TORCH = (
    *("version", "messages", "errors", "files", "notation", "report"),
    *("results", "host/registry", "search/names"),
    *(f"ctc_crf/{name}" for name in ("arpa", "estimate", "lm", "graph", "lexicon")),
    *(f"ctc_crf/decoding/{n}" for n in ("topology", "beam", "word_lm", "data")),
)
# What runs a model or reads weights, in rooms that are light otherwise.
HEAVY = {"results/inherit.py", "results/from_supernet.py", "report/speed.py"}
NO_ESPNET = ("notation", "ops", "network", "estimators", "supernet", "cost", "results")
NO_ESPNET += tuple(
    f"ctc_crf/{name}" for name in ("sparse", "denominator", "loss", "criterion")
)


def files(name: str) -> list[Path]:
    path = PACKAGE / name
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imported(path: Path) -> set[str]:
    """All modules that a file imports, anywhere in it."""
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


def refused(modules: set[str], allowed: set[str]) -> set[str]:
    """The modules that are neither allowed nor inside of an allowed room."""
    return {
        module
        for module in modules
        if not any(module == a or module.startswith(f"{a}.") for a in allowed)
    }


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_downwards(room):
    order = [*GROUND, *ROOMS]
    for name in ROOMS[room]:
        assert order.index(name.split(".")[0]) < order.index(room)
    for path in files(room):
        found = refused(own(path), {room} | ROOMS[room] | GROUND)
        assert not found, f"{path.relative_to(PACKAGE)} imports {', '.join(found)}"


@pytest.mark.parametrize("name", FLAT)
def test_flat_modules_import_downwards(name):
    assert not refused(own(PACKAGE / f"{name}.py"), FLAT[name])


def test_nothing_else_is_flat():
    found = {p.stem if p.is_file() else p.name for p in PACKAGE.iterdir()}
    assert found - {"__pycache__", "py"} == set(ROOMS) | set(FLAT)


def test_modules_do_not_import_in_circles():
    """Imports at the top of modules; those in functions happen when all is loaded."""
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        graph[name.removesuffix(".__init__")] = {
            node.module.removeprefix("espnet_stnas.")
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
        }
    while True:
        leaves = {name for name, needs in graph.items() if not needs & set(graph)}
        if not leaves:
            break
        graph = {name: needs for name, needs in graph.items() if name not in leaves}
    assert not graph, f"circles among {', '.join(sorted(graph))}"


@pytest.mark.parametrize("name", NO_TORCH)
def test_light_modules_import_neither_torch_nor_espnet(name):
    for path in files(name):
        if str(path.relative_to(PACKAGE)) in HEAVY:
            continue
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
