"""A corpus of noise and tiny searches on it, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.tiny_search import (  # noqa: F401  (tests take them from here)
    CHOICE,
    TOKENS,
    command,
    make_corpus,
    search_config,
)


def derive(*words: str) -> None:
    """Derive from a search of noise; the exit code 3 says that it trained nothing."""
    from espnet_stnas.cli.main import main

    try:
        main(["derive", *words])
    except SystemExit as end:
        if end.code != 3:
            raise


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Kaldi directories train (24 utterances) and dev (6), with shape files."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def finished_search(corpus, tmp_path_factory) -> Path:
    """A search of 3 epochs, the first of them warm-up. Copy it to change it."""
    from espnet_stnas.search import program

    exp = tmp_path_factory.mktemp("finished") / "exp"
    program.main(command(corpus, exp, search_config()))
    return exp
