"""Examples are tests: those of pages, and those of docstrings (``>>>``), by sybil."""

from __future__ import annotations

from doctest import ELLIPSIS
from importlib.util import find_spec
from pathlib import Path

import yaml
from sybil import Example, Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser
from sybil.sybil import SybilCollection

PAGES = ["*.md", "docs/*.md", "egs2/**/README.md"]
# tests/test_extending.py runs its Python as the files that they are.
WORKED_EXAMPLE = "docs/extending.md"


def run_commands(example: Example) -> None:
    """Let the parsers of the programs read the commands of a block."""
    from tests.commands import check_commands

    check_commands(example.parsed, Path(example.path).parent)


def build_yaml(example: Example) -> None:
    """Build the spaces, estimators and costs of a YAML block."""
    build(yaml.safe_load(example.parsed))


def build(found: object) -> None:
    """Build what a YAML describes, at any depth."""
    from espnet_stnas.cost.goal import CostOptions
    from espnet_stnas.estimators import build_estimator
    from espnet_stnas.notation.space import SearchSpace

    for key, value in found.items() if isinstance(found, dict) else ():
        if key == "encoder_conf":
            SearchSpace.from_conf(value).shapes(80)
        elif key == "layers":
            SearchSpace.from_conf({"layers": value, "width": 64}).shapes(64)
            return
        elif key == "estimator_conf":
            build_estimator(found.get("estimator", "snas"), value)
        elif key == "cost_conf":
            CostOptions.from_conf(value)
        else:
            build(value)


shell, structure = (
    CodeBlockParser("sh", run_commands),
    CodeBlockParser("yaml", build_yaml),
)
pages = Sybil(
    [SkipParser(), PythonCodeBlockParser(), shell, structure],
    patterns=PAGES,
    excludes=[WORKED_EXAMPLE],
)
worked_example = Sybil([shell, structure], patterns=[WORKED_EXAMPLE])
docstrings = Sybil(
    [DocTestParser(ELLIPSIS)],
    patterns=["espnet_stnas/**/*.py"],
    # It has no wheels for all versions of Python.
    excludes=[] if find_spec("flashlight") else ["espnet_stnas/ctc_crf/decoding/*.py"],
    document_types={".py": PythonDocStringDocument},
)
pytest_collect_file = SybilCollection([pages, worked_example, docstrings]).pytest()
