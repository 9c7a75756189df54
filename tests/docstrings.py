"""Docstrings compared with the code that they stand in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Union

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
Documented = Union[Function, ast.ClassDef]

_SEE = re.compile(r"\bsee\b", re.IGNORECASE)


def public(tree: ast.Module) -> Iterator[tuple[str, Documented]]:
    """Public functions, classes, and methods of public classes, with their names."""
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if node.name.startswith("_"):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                named = isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))
                if named and not item.name.startswith("_"):
                    yield f"{node.name}.{item.name}", item


# How many arguments of a function need no list.
FEW = 2
_TENSOR = re.compile(r"\bTensor\b|\bParameter\b")
# (B, T, D), (K,), (samples,), (), and in words where it does not matter.
_SHAPE = re.compile(r"\((?:any shape|[^()]*,[^()]*|)\)")


def problems(source: str) -> list[str]:
    """What docstrings of a module lack, or say and the code does not.

    - Each public function and class has one.
    - Arguments that are listed are those of the signature, in its order. Functions of
      more than two list them, unless the docstring says where to see them.
    - Tensors have shapes: in the description of the argument, or, if all have the same
      or arguments are not listed, in the text before.
    - What is raised in the body is listed.

    Args:
        source: Text of the module.
    """
    found = []
    for name, node in public(ast.parse(source)):
        text = ast.get_docstring(node)
        if not text:
            found.append(f"{name} has no docstring")
            continue
        listed = section(text, "Args")
        arguments = _arguments(node)
        refers = bool(_SEE.search(text))
        if listed and not _same(node, list(listed), list(arguments)):
            found.append(f"{name} lists {list(listed)} and takes {list(arguments)}")
        tensors = {a for a, kind in arguments.items() if _TENSOR.search(kind)}
        if listed and not _SHAPE.search(text.partition("Args:")[0]):
            found += [
                f"{name} does not give the shape of {argument}"
                for argument in tensors & listed.keys()
                if not _SHAPE.search(listed[argument])
                and "Not used." not in listed[argument]
            ]
        if isinstance(node, ast.ClassDef) or refers:
            continue
        if not listed and len(arguments) > FEW:
            found.append(f"{name} does not list its arguments")
        if not listed and tensors and not _SHAPE.search(text):
            found.append(f"{name} gives no shape")
        missing = raised(node) - set(section(text, "Raises")) - {"AttributeError"}
        if missing:
            found.append(f"{name} does not say that it raises {sorted(missing)}")
    return found


def _same(node: Documented, listed: list[str], arguments: list[str]) -> bool:
    inherits = isinstance(node, ast.ClassDef) and bool(node.bases)
    if inherits and not any(
        isinstance(item, ast.FunctionDef) and item.name == "__init__"
        for item in node.body
    ):
        return set(arguments) <= set(listed)
    return listed == arguments


def section(text: str, title: str) -> dict[str, str]:
    """The entries of a section of a docstring."""
    match = re.search(rf"^{title}:\n((?:    .*(?:\n|$)|\n)+)", text, re.MULTILINE)
    if match is None:
        return {}
    entries = re.findall(
        r"^    (\*{0,2}\w+):((?:.*\n?)(?:     .*\n?)*)", match[1], re.M
    )
    return {name.lstrip("*"): description for name, description in entries}


def _arguments(node: Documented) -> dict[str, str]:
    """Arguments and their annotations: of a function, a constructor or a dataclass."""
    if not isinstance(node, ast.ClassDef):
        return _signature(node)
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _signature(item)
    return {
        item.target.id: ast.unparse(item.annotation)
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and not ast.unparse(item.annotation).startswith("ClassVar")
    }


def _signature(node: Function) -> dict[str, str]:
    a = node.args
    every = [*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg]
    return {
        arg.arg: ast.unparse(arg.annotation) if arg.annotation else ""
        for arg in every
        if arg is not None and arg.arg not in ("self", "cls")
    }


def raised(node: Function) -> set[str]:
    """The exceptions that a function raises itself, by name."""
    names = set()
    for child in _own(node):
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            names.add(ast.unparse(child.exc.func).rpartition(".")[2])
    return {name for name in names if name[0].isupper()}


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, without those of functions inside of it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            yield child
            yield from _own(child)
