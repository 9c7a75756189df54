"""Several processes on a CPU, as ESPnet and launchers start them: one per rank, gloo."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.processes import finish, free_port, rank_options, run_main, start
from tests.search.conftest import CHOICE, command, search_config

# Without draws that depend on the batch: what remains must not depend on its division.
EXACT = dict(
    train_dtype="float64",
    encoder_conf={
        "width": 6,
        "dropout_rate": 0.0,
        "layers": ["tdnn-C1S3D1", CHOICE, CHOICE[:2]],
    },
    # Frames that reach over the end would depend on the padding.
    frontend_conf={
        **search_config()["frontend_conf"],
        "center": False,
    },
    specaug=None,
    # Not CTC, which ESPnet computes in float32.
    model_conf={"ctc_weight": 0.0},
    decoder="transformer",
    decoder_conf={
        "attention_heads": 1,
        "linear_units": 8,
        "num_blocks": 1,
        "dropout_rate": 0.0,
        "positional_dropout_rate": 0.0,
    },
    arch_fraction=0.4,
    max_epoch=2,
    warmup_epochs=0,
)


def train_rank(options: list[str], model_file: Path) -> None:
    """Search, and save the model of this rank; ESPnet saves that of rank 0 only."""
    from espnet_stnas.search.trainer import SearchTrainer

    run = SearchTrainer.run.__func__

    def spy(cls, *, model, **kwargs):
        run(cls, model=model, **kwargs)
        torch.save(model.state_dict(), model_file)

    SearchTrainer.run = classmethod(spy)
    run_main("espnet_stnas.bin.asr_search", options)


def search(corpus: Path, exp: Path, world_size: int, **changes: object) -> list[dict]:
    """Search with so many processes: the model of every rank."""
    options = command(corpus, exp, search_config(**changes))
    port = free_port()
    processes = []
    for rank in range(world_size):
        distributed = rank_options(rank, world_size, port) if world_size > 1 else []
        log = exp.parent / f"{exp.name}.{rank}.log"
        function = f"{__name__}:train_rank"
        target = exp.parent / f"{exp.name}.{rank}.pth"
        processes.append((start(function, log, options + distributed, target), log))
    try:
        for process, log in processes:
            finish(process, log)
    finally:
        for process, _ in processes:
            process.kill()
    return [
        torch.load(exp.parent / f"{exp.name}.{rank}.pth") for rank in range(world_size)
    ]


def assert_same(one: dict, two: dict, **tolerance: float) -> None:
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, two[key], msg=lambda m: f"{key}: {m}", **tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"arch_data": "joint", "accum_grad": 2},
        {"estimator_conf": {"subgraph_size": 2}, "accum_grad": 2},
        {
            "arch_data": "joint",
            "estimator_conf": {"subgraph_size": 2},
            "accum_grad": 2,
        },
        {"estimator": "proxyless", "arch_data": "joint"},
        {"estimator": "darts"},
        {"estimator": "darts", "estimator_conf": {"unrolled": True}},
    ],
    ids=str,
)
def test_a_search_is_that_of_one_process(corpus, tmp_path, changes):
    """Also with batches whose size is not a multiple of the number of ranks."""
    config = {**EXACT, "batch_size": 5, **changes}
    (alone,) = search(corpus, tmp_path / "1", 1, **config)
    logits = [v for k, v in alone.items() if k.endswith("logits")]
    assert all(v.abs().sum() > 0 for v in logits)
    for world_size in (2, 3):
        ranks = search(corpus, tmp_path / str(world_size), world_size, **config)
        for model in ranks:
            assert_same(model, alone, rtol=1e-9, atol=1e-11)
            assert_same(model, ranks[0], rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "arch_data"), [("st", "train"), ("proxyless", "joint")]
)
def test_ranks_that_draw_their_own_paths_stay_together(
    corpus, tmp_path, estimator, arch_data
):
    """Dropout, augmentation and paths differ; still they hold the same model."""
    ranks = search(
        corpus,
        tmp_path / "exp",
        2,
        batch_size=5,
        arch_fraction=0.4,
        estimator=estimator,
        arch_data=arch_data,
        path_draws="per_rank",
    )
    assert_same(ranks[0], ranks[1], rtol=0, atol=0)
    logits = [v for k, v in ranks[0].items() if k.endswith("logits")]
    assert all(v.abs().sum() > 0 for v in logits)
    assert (tmp_path / "exp" / "architectures" / "3epoch.yaml").exists()
