"""The messages of the programs, to compare the documentation with."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from tests.commands import ROOT

# What stands for a value that is filled in.
_HOLE = "\0"


def quoted(page: str) -> list[str]:
    """The messages that a page quotes: bold code, ``...`` where values stand."""
    found = re.findall(r"\*\*`([^`]+)`\*\*", page)
    return [" ".join(text.split()) for text in found]


def exists(message: str) -> bool:
    """Whether a program has a message with the words of this one, in their order.

    Args:
        message: With ``...`` for values. It may be a part of the program's.
    """
    words = [re.escape(part) for part in re.split(r"\s*\.\.\.\s*", message)]
    pattern = re.compile(r"\s*.*?\s*".join(words), re.DOTALL)
    return any(pattern.search(text) for text in _messages())


@functools.cache
def _messages() -> tuple[str, ...]:
    places = (ROOT / "espnet_stnas", ROOT / "egs2")
    files = [file for place in places for file in place.rglob("*.py")]
    found = [text for file in files for text in _strings(file)]
    for script in (ROOT / "egs2").rglob("*.sh"):
        found += _shell_strings(script.read_text(encoding="utf-8"))
    return tuple(found)


def _strings(file: Path) -> list[str]:
    """All string constants of a file but docstrings, with holes for values."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (
                str(part.value) if isinstance(part, ast.Constant) else _HOLE
                for part in node.values
            )
            texts.append("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings:
                texts.append(re.sub(r"%(\(\w+\))?[srd]", _HOLE, node.value))
    return [" ".join(text.split()) for text in texts]


def _shell_strings(script: str) -> list[str]:
    """What `die` and `echo` say, one string for each."""
    joined = re.sub(r'"\s*\\\n\s*["\']', " ", script)
    texts = re.findall(r'(?:die|echo) "((?:[^"\\]|\\.|"\$\{[^}]*\}")*)"', joined)
    return [re.sub(r"\$\{[^}]*\}|\$\([^)]*\)", _HOLE, text) for text in texts]
