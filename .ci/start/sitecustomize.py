"""Start ESPnet faster, in the many processes of .ci/run.

ESPnet decorates 200 functions with typeguard's ``typechecked``. For each, typeguard
parses, rewrites and compiles the whole module, which is most of the time of ``import
espnet2``. Here, it gets the module without the other functions. The code that it makes
is the same to the last byte, and so are its checks: tests/test_ci.py compares them.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

_HOOKED = "typeguard._decorators"
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def without_others(source: str, path: list[str]) -> str:
    """Empty the lines of all definitions but those on the path to a function."""
    lines = source.splitlines(keepends=True)
    for begin, end in _others(_parse(source).body, path):
        lines[begin:end] = ["\n"] * (end - begin)
    return "".join(lines)


_parse = functools.lru_cache(maxsize=16)(ast.parse)


def _others(body: list[ast.stmt], path: list[str]) -> Iterator[tuple[int, int]]:
    for node in body:
        if not isinstance(node, _DEFINITIONS):
            continue
        if not path or node.name != path[0]:
            first = min(n.lineno for n in (node, *node.decorator_list))
            yield first - 1, node.end_lineno or first
        elif isinstance(node, ast.ClassDef) and len(path) > 1:
            yield from _others(node.body, path[1:])


def speed_up(decorators: ModuleType) -> None:
    """Change the module of typeguard that rewrites functions."""

    class Transformer(decorators.TypeguardTransformer):  # type: ignore[misc,name-defined]
        def visit_Module(self, node: Any) -> Any:  # noqa: N802
            node.body = ast.parse(without_others(node.source, self._target_path)).body
            return super().visit_Module(node)

    def parse(source: str) -> ast.Module:
        # Parsed above, where the function is known.
        module = ast.Module(body=[], type_ignores=[])
        module.source = source  # type: ignore[attr-defined]
        return module

    decorators.ast = SimpleNamespace(**{**vars(ast), "parse": parse})  # type: ignore[attr-defined]
    decorators.TypeguardTransformer = Transformer  # type: ignore[attr-defined]


class _Hook(MetaPathFinder):
    """Waits for typeguard: programs that do without it start as they did."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != _HOOKED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_change(module: ModuleType) -> None:
                load(module)
                speed_up(module)

            spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Hook())
