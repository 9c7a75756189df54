"""Several processes on a CPU, one per rank, as ESPnet and launchers start them."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import pytest
import torch

from benchmarks.processes import finish, free_port, rank_options, run_main, start
from espnet_stnas.host.lock import locked
from espnet_stnas.results.experiment import SearchExperiment
from tests.search.conftest import CHOICE, command, search_config

# Without draws that depend on the batch: what remains must not depend on its division.
EXACT = dict(
    train_dtype="float64",
    encoder_conf={
        "width": 6,
        "dropout_rate": 0.0,
        # Batch norm behind both choices: gradients cross the ranks.
        "layers": ["tdnn-C1S3D1", CHOICE, CHOICE[:2], "tdnn-C1D1Nbn"],
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


def train_rank(
    options: list[str], model_file: Path, change: Optional[str] = None
) -> None:
    """Search, and save the model of this rank; ESPnet saves that of rank 0 only."""
    from espnet_stnas.search.trainer import SearchTrainer

    run = SearchTrainer.run.__func__

    def spy(cls, *, model, **kwargs):
        if change is not None:
            globals()[change](model)
        run(cls, model=model, **kwargs)
        torch.save(model.state_dict(), model_file)

    SearchTrainer.run = classmethod(spy)
    run_main("espnet_stnas.search.program", options)


def lose_last_batch(model: torch.nn.Module) -> None:
    """Let every pass over data end one batch too early."""
    from espnet2.iterators.sequence_iter_factory import SequenceIterFactory

    build_iter = SequenceIterFactory.build_iter

    def shorter(self, *args, **kwargs):
        return list(build_iter(self, *args, **kwargs))[:-1]

    SequenceIterFactory.build_iter = shorter


def forget_to_average(model: torch.nn.Module) -> None:
    """Move a weight, as no rank must on its own."""
    from espnet_stnas.search.trainer import SearchTrainer

    validate = SearchTrainer.validate_one_epoch.__func__

    def moving(cls, **kwargs):
        with torch.no_grad():
            model.ctc.ctc_lo.bias[0] += 1e-6
        validate(cls, **kwargs)

    SearchTrainer.validate_one_epoch = classmethod(moving)


def search(
    corpus: Path,
    exp: Path,
    world_size: int,
    rank_1: Optional[str] = None,
    **changes: object,
) -> list[dict]:
    """Search with so many processes: the model of every rank.

    Args:
        corpus: Where the data are.
        exp: Directory of the experiment.
        world_size: Number of processes.
        rank_1: A function that changes something on rank 1 only.
        changes: Options.
    """
    options = command(corpus, exp, search_config(**changes))
    port = free_port()
    processes = []
    for rank in range(world_size):
        distributed = rank_options(rank, world_size, port) if world_size > 1 else []
        log = exp.parent / f"{exp.name}.{rank}.log"
        function = f"{__name__}:train_rank"
        target = exp.parent / f"{exp.name}.{rank}.pth"
        change = rank_1 if rank == 1 else None
        process = start(function, log, options + distributed, target, change)
        processes.append((process, log))
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
        if not torch.allclose(value, two[key], **tolerance):
            raise AssertionError(f"{key} differs by {(value - two[key]).abs().max()}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "world_sizes"),
    [
        ({}, (2, 3)),
        ({"arch_data": "joint", "accum_grad": 2}, (2,)),
        ({"estimator_conf": {"subgraph_size": 2}, "accum_grad": 2}, (2,)),
        (
            {
                "arch_data": "joint",
                "estimator_conf": {"subgraph_size": 2},
                "accum_grad": 2,
            },
            (2, 3),
        ),
        ({"estimator": "proxyless", "arch_data": "joint"}, (2,)),
        ({"estimator": "darts"}, (3,)),
        ({"estimator": "darts", "estimator_conf": {"order": 2}}, (2,)),
    ],
    ids=str,
)
def test_a_search_is_that_of_one_process(corpus, tmp_path, changes, world_sizes):
    """Also with batches whose size is not a multiple of the number of ranks."""
    config = {**EXACT, "batch_size": 5, **changes}
    (alone,) = search(corpus, tmp_path / "1", 1, **config)
    logits = [v for k, v in alone.items() if k.endswith("logits")]
    assert all(v.abs().sum() > 0 for v in logits)
    for world_size in world_sizes:
        ranks = search(corpus, tmp_path / str(world_size), world_size, **config)
        for model in ranks:
            assert_same(model, alone, rtol=1e-9, atol=1e-9)
            assert_same(model, ranks[0], rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["kernel", "none"])
def test_an_elastic_search_is_that_of_one_process(corpus, tmp_path, sharing):
    """As far as ESPnet's CTC, which it computes in float32, allows to tell."""
    options = {"elastic": True, "estimator": "uniform", "arch_data": "joint"}
    conf = {**EXACT["encoder_conf"], "sharing": sharing}
    model = {"ctc_weight": 0.5}
    # Adam would turn gradients of rounding errors into steps of full size.
    optimizer = {"optim": "sgd", "optim_conf": {"lr": 0.01}}
    config = {**EXACT, **options, **optimizer, "encoder_conf": conf}
    config |= {"model_conf": model, "batch_size": 5}
    (alone,) = search(corpus, tmp_path / "1", 1, **config)
    ranks = search(corpus, tmp_path / "2", 2, **config)
    for found in ranks:
        assert_same(found, alone, rtol=1e-5, atol=1e-5)
        assert_same(found, ranks[0], rtol=0, atol=0)
    logits = [v for k, v in alone.items() if k.endswith("logits")]
    assert not any(v.any() for v in logits)


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


@pytest.mark.slow
@pytest.mark.parametrize("arch_data", ["train", "joint"])
def test_uneven_numbers_of_batches_end_cleanly(corpus, tmp_path, arch_data):
    ranks = search(
        corpus,
        tmp_path / "exp",
        2,
        rank_1="lose_last_batch",
        arch_data=arch_data,
        arch_fraction=0.5,
    )
    assert_same(ranks[0], ranks[1], rtol=0, atol=0)
    assert (tmp_path / "exp" / "architectures" / "3epoch.yaml").exists()


@pytest.mark.slow
def test_ranks_that_differ_end_with_a_sentence(corpus, tmp_path):
    """Not with a hang, and not with a wrong result."""
    with pytest.raises(RuntimeError, match="exit code 1") as failure:
        search(corpus, tmp_path / "exp", 2, rank_1="forget_to_average")
    last = str(failure.value).strip().splitlines()[-1]
    assert last.startswith("error: the ranks of this search do not hold the same model")
    assert "after epoch 1: 'ctc.ctc_lo.bias' and 0 more of" in last
    assert not (tmp_path / "exp" / "checkpoint.pth").exists()


def ends(
    corpus: Path, exp: Path, changes: list[list[str]], kill: Optional[int] = None
) -> list[tuple[Optional[int], str]]:
    """Start a rank for each list of options: exit codes and last lines."""
    options = command(corpus, exp, search_config(max_epoch=2, arch_fraction=0.5))
    port, processes = free_port(), []
    for rank, own in enumerate(changes):
        log = exp.parent / f"{exp.name}.{rank}.log"
        function = f"{__name__}:{'dying_rank' if rank == kill else 'plain_rank'}"
        given = [*options, *rank_options(rank, len(changes), port), *own]
        processes.append((start(function, log, given), log))
    found = []
    for process, log in processes:
        process.join(120)
        lines = log.read_text().strip().splitlines()
        found.append((process.exitcode, lines[-1] if lines else ""))
        process.kill()
    return found


def plain_rank(options: list[str]) -> None:
    run_main("espnet_stnas.search.program", options)


def dying_rank(options: list[str]) -> None:
    """Kill this process in the middle of its first epoch."""
    import os
    import signal

    from espnet_stnas.search.epoch import Epoch

    def step(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    Epoch._share_paths = step
    plain_rank(options)


@pytest.mark.slow
def test_ranks_with_different_options_are_refused_on_every_rank(corpus, tmp_path):
    found = ends(corpus, tmp_path / "exp", [[], ["--seed", "7"]])
    message = (
        "error: seed differs between the processes of this search: 0 on rank 0, 7 on "
        "rank 1; accepted are the same options and data on all ranks"
    )
    assert found == [(1, message)] * 2
    assert not (tmp_path / "exp").exists()


@pytest.mark.slow
def test_a_directory_in_use_is_said_on_every_rank(corpus, tmp_path):
    with locked(tmp_path / "exp", "search"):
        found = ends(corpus, tmp_path / "exp", [[], []])
    for code, message in found:
        assert code == 1
        assert message.startswith(f"error: {tmp_path}/exp is in use by the search of")


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_with_a_sentence(corpus, tmp_path):
    exp = tmp_path / "exp"
    found = ends(corpus, exp, [[], []], kill=1)
    assert found[1][0] == -9
    assert found[0][0] == 1
    assert found[0][1].startswith("error: this process of the search has lost another")
    assert SearchExperiment.failure_in(exp) is None
    # What was killed is no failure, and nobody holds the directory.
    assert [code for code, _ in ends(corpus, exp, [[], []])] == [0, 0]


@pytest.mark.slow
def test_a_retraining_is_that_of_one_process(corpus, tmp_path):
    """By ESPnet's own trainer; fixed encoders have nothing to say about it."""
    config = search_config(**EXACT, batch_size=5)
    layers = ["tdnn-C1S3D1", "tdnn-C2D1", "tdnn-C1D2"]
    config["encoder_conf"] = {**config["encoder_conf"], "layers": layers}
    for key in ("optim2", "optim2_conf", "warmup_epochs", "arch_fraction"):
        del config[key]
    models = []
    for world_size in (1, 2):
        exp, port = tmp_path / str(world_size), free_port()
        options = ["-m", "espnet2.bin.asr_train", *command(corpus, exp, config)]
        processes = []
        for rank in range(world_size):
            own = rank_options(rank, world_size, port) if world_size > 1 else []
            log = tmp_path / f"{world_size}.{rank}.log"
            function, module = "benchmarks.processes:run_main", "espnet_stnas.run"
            processes.append((start(function, log, module, options + own), log))
        for process, log in processes:
            finish(process, log)
        checkpoint = torch.load(exp / "checkpoint.pth", weights_only=True)
        models.append(checkpoint["model"])
    assert_same(*models, rtol=1e-9, atol=1e-9)
