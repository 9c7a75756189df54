"""Options that experiments on a corpus have in common."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional


def corpus_parser(
    description: Optional[str], *, table: bool = True
) -> argparse.ArgumentParser:
    """Return a parser with the corpus and its cache.

    Args:
        description: What the script does, as its docstring says.
        table: Whether it adds rows to a CSV.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="Corpus, from stage 1 of the recipe")
    parser.add_argument("--cache", type=Path, required=True, help="File of features")
    if table:
        parser.add_argument(
            "--output", type=Path, required=True, help="CSV to add rows to"
        )
    return parser
