"""Imports go downwards from room to room, and light modules stay light."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

import espnet_stnas

PACKAGE = Path(espnet_stnas.__file__).parent
EVERY = sorted(PACKAGE.rglob("*.py"))

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
    "ctc_crf": {"host"},
    "report": {"notation", "results", "cost", "host"},
    "search": {
        *("notation", "ops", "estimators", "supernet", "results", "cost", "host"),
        "report",
    },
    "espnet3": {
        *("notation.zeros", "estimators", "supernet", "results", "cost", "search"),
    },
    "selection": {
        *("notation", "network", "supernet", "results", "cost", "host"),
        *("report.drawing", "report.table", "report.verified", "search.names"),
        "ctc_crf.decoding",
    },
    "export": {
        *("notation", "ops", "network", "cost", "host", "ctc_crf.decoding"),
        *("selection.data", "selection.greedy"),
    },
    "cli": {
        *("notation", "network", "results", "cost", "host", "export", "ctc_crf"),
        *("report", "search", "selection"),
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
    "run": {"errors", "files", "host", "results", "search"},
    "__main__": {"cli"},
}
# Rooms without torch and ESPnet. A module of another room is light if it says so.
LIGHT = (*GROUND, "notation", "results", "report")
PROMISE = re.compile("no torch|without torch", re.IGNORECASE)
# What runs a model or reads weights, in rooms that are light otherwise.
HEAVY = {"results/inherit.py", "results/from_supernet.py", "report/speed.py"}
# Who may know ESPnet: all others are plain PyTorch, or less.
ESPNET = {
    *("host", "search", "espnet3", "cli", "report/speed.py", "selection/source.py"),
    "selection/greedy.py",
    *("ctc_crf/model.py", "ctc_crf/label_lm.py", "ctc_crf/decoding/experiment.py"),
}


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
    order = list(ROOMS)
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
    for path in EVERY:
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        graph[name.removesuffix(".__init__")] = {
            node.module.removeprefix("espnet_stnas.")
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
        }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def is_light(path: Path) -> bool:
    room = place(path).split("/")[0].removesuffix(".py")
    source = ast.parse(path.read_text(encoding="utf-8"))
    promises = PROMISE.search(ast.get_docstring(source) or "")
    return place(path) not in HEAVY and (room in LIGHT or bool(promises))


@pytest.mark.parametrize("path", filter(is_light, EVERY), ids=place)
def test_light_modules_import_neither_torch_nor_espnet(path):
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & {"torch", "torchaudio", "espnet", "espnet2"}


def test_the_core_does_not_know_espnet():
    knowing = {place(p) for p in EVERY if any("espnet2" in m for m in imported(p))}
    assert {p for p in knowing if not {p, p.split("/")[0]} & ESPNET} == set()


def test_files_are_short():
    for path in EVERY:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 330, f"{path.name} has {lines} lines"
