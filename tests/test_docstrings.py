"""Docstrings list the arguments of the code, with shapes; ruff checks the errors."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import espnet_stnas

PACKAGE = Path(espnet_stnas.__file__).parent
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
        ".__init__"
    )
    for path in sorted(PACKAGE.rglob("*.py"))
    if "cli" not in path.parts
]
# How many arguments of a function need no list.
FEW = 2
# (B, T, D), (K,), (samples,), ().
SHAPE = re.compile(r"\((?:any shape|[^()]*,[^()]*|)\)")


def documented(module: str) -> Iterator[tuple[str, Any, str]]:
    """Public classes, functions and methods of a module, with their docstrings."""
    parts = vars(importlib.import_module(module)).items()
    classes = [c for _, c in parts if inspect.isclass(c) and c.__module__ == module]
    methods = [(f"{c.__name__}.{m}", f) for c in classes for m, f in vars(c).items()]
    for name, item in [*parts, *methods]:
        item = inspect.unwrap(getattr(item, "__func__", item))
        if inspect.isclass(item) and issubclass(item, BaseException):
            continue
        is_code = inspect.isfunction(item) or inspect.isclass(item)
        own = is_code and item.__module__ == module and item.__name__ != "<lambda>"
        if own and not re.search(r"(^|\.)_", name):
            yield name, item, inspect.cleandoc(item.__doc__ or "")


def listed(docstring: str) -> list[str]:
    """The arguments that a docstring lists, in its order."""
    section = re.search(r"^Args:\n((?: .*\n?|\n)+)", docstring, re.MULTILINE)
    return (
        re.findall(r"^    \*{0,2}(\w+):", section[1], re.MULTILINE) if section else []
    )


@pytest.mark.parametrize("module", MODULES)
def test_arguments_and_shapes_are_documented(module):
    if ".espnet3." in module:
        pytest.importorskip("espnet3", reason="this ESPnet has no espnet3")
        pytest.importorskip("lightning", reason="espnet3 trains with Lightning")
    for name, item, docstring in documented(module):
        takes = inspect.signature(item).parameters.values()
        names = [p.name for p in takes if p.name not in ("self", "cls")]
        refers = re.search(r"\bsee\b", docstring, re.IGNORECASE)
        few = inspect.isclass(item) or len(names) <= FEW or refers
        assert listed(docstring) == names or few and not listed(docstring), name
        if not refers and any("Tensor" in str(p.annotation) for p in takes):
            assert SHAPE.search(docstring), f"{name} gives no shape"
