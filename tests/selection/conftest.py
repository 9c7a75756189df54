"""Tiny searches whose architectures are evaluated and selected."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.search.conftest import (  # noqa: F401
    command,
    corpus,
    finished_search,
    search_config,
)

PLAIN = ["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1"]


@pytest.fixture(scope="session")
def plain_search(corpus, tmp_path_factory) -> Path:  # noqa: F811
    """A search without batch norm, of 2 epochs; copy it to change it."""
    from espnet_stnas.search import program

    exp = tmp_path_factory.mktemp("plain") / "exp"
    layers = ["tdnn-C1S3D1", PLAIN, PLAIN[:2], PLAIN[1:]]
    conf = {"width": 6, "dropout_rate": 0.2, "layers": layers}
    config = search_config(encoder_conf=conf, max_epoch=2)
    program.main(command(corpus, exp, config))
    # Two epochs train no supernet, which would be the exit code of each command.
    (exp / "supernet.yaml").unlink()
    return exp
