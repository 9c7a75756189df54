"""A corpus of noise and a tiny search on it, in this process."""

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


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Kaldi directories train (24 utterances) and dev (6), with shape files."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))
