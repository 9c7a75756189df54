"""A start that is refused leaves what the search has on disk as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from espnet_stnas.search import program
from tests.search.conftest import CHOICE, TOKENS, command, search_config


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory) -> Path:
    exp = tmp_path_factory.mktemp("finished") / "exp"
    config = search_config(max_epoch=2, scheduler2="exponentiallr")
    config["scheduler2_conf"] = {"gamma": 0.9}
    program.main(command(corpus, exp, config))
    return exp


SPACE = {"width": 6, "layers": ["tdnn-C1S3D1", CHOICE, CHOICE[::2]]}
SCHEDULER2 = {"scheduler2": "exponentiallr", "scheduler2_conf": {"gamma": 0.9}}


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"encoder_conf": SPACE}, [], "holds a search of another space"),
        ({"seed": 5}, [], "holds another split than arch_fraction, seed and"),
        ({"arch_fraction": 0.5}, [], "holds another split than arch_fraction, seed an"),
        (
            {
                "frontend_conf": {
                    "fs": 8000,
                    "n_fft": 128,
                    "hop_length": 80,
                    "n_mels": 9,
                }
            },
            [],
            "checkpoint.pth does not fit the model of these options; set the options",
        ),
        ({}, ["--token_list", "more.txt"], "does not fit the .*: .*ctc.ctc_lo"),
        (
            {"optim": "sgd"},
            [],
            "optim is 'sgd', but .*holds the state of another opt",
        ),
        ({"optim2": "sgd"}, [], "optim2 is 'sgd', but .*holds the state of another o"),
        (
            {"scheduler": "steplr", "scheduler_conf": {"step_size": 3}},
            [],
            "scheduler is 'steplr', but .* of another scheduler or of none; set the",
        ),
        (
            {"scheduler2": "warmuplr", "scheduler2_conf": {"warmup_steps": 3}},
            [],
            "scheduler2 is 'warmuplr', but .* of another scheduler or of none",
        ),
        (
            {"batch_type": "folded"},
            [],
            "fold_length has 0 lengths and train_shape_file 1 files",
        ),
        (
            {"iterator_type": "category"},
            [],
            "batches of mode .train. cannot be built; ESP",
        ),
        ({"init_param": ["no.pth"]}, [], "there is no file no.pth; accepted is a file"),
        ({"optim_conf": {"lr": -1}}, [], "optim 'adam' with its optim_conf cannot be"),
        (
            {"ngpu": 64},
            [],
            "ngpu is 64, but torch finds .*CUDA devices? here; acc",
        ),
    ],
)
def test_refused_starts_change_nothing(
    corpus, tmp_path, finished, monkeypatch, changes, options, message
):
    exp = tmp_path / "exp"
    shutil.copytree(finished, exp, symlinks=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more.txt").write_text("\n".join([*TOKENS[:-1], "d", TOKENS[-1]]))
    before = {p: p.read_bytes() for p in exp.rglob("*") if p.is_file()}
    config = search_config(**{"max_epoch": 3, **SCHEDULER2, **changes})
    with pytest.raises(SystemExit, match=f"^error: .*{message}") as caught:
        program.main(command(corpus, exp, config, *options))
    assert "\n" not in str(caught.value)
    assert {p: p.read_bytes() for p in exp.rglob("*") if p.is_file()} == before


def test_damaged_checkpoint_is_one_sentence(corpus, tmp_path, finished):
    exp = tmp_path / "exp"
    shutil.copytree(finished, exp, symlinks=True)
    (exp / "checkpoint.pth").write_bytes(b"PK")
    config = (exp / "config.yaml").read_bytes()
    with pytest.raises(SystemExit, match="checkpoint.pth is damaged or no checkpoint"):
        program.main(command(corpus, exp, search_config(**SCHEDULER2)))
    assert (exp / "config.yaml").read_bytes() == config


def test_all_wrong_options_are_named_at_once(corpus, tmp_path):
    config = search_config(warmup_epochs=-1, max_skipped_steps=0, sharded_ddp=True)
    with pytest.raises(SystemExit, match="^error: 3 options cannot .*: .1. warmup"):
        program.main(command(corpus, tmp_path / "exp", config))


def test_no_features_at_all(corpus, tmp_path):
    config = search_config(frontend=None)
    with pytest.raises(SystemExit, match="frontend is null and so is input_size; acc"):
        program.main(command(corpus, tmp_path / "exp", config))


def statistics(path: Path, size: int) -> dict:
    """Statistics of features, as ESPnet collects them."""
    zeros = np.zeros(size, np.float32)
    np.savez(path, count=np.array(3), sum=zeros, sum_square=zeros + 3)
    return {"normalize": "global_mvn", "normalize_conf": {"stats_file": str(path)}}


def test_statistics_of_other_features_are_refused(corpus, tmp_path):
    config = search_config(**statistics(tmp_path / "feats_stats.npz", 80))
    message = (
        "^error: normalize_conf: stats_file .*feats_stats.npz has statistics of 80 "
        "dimensions, but the features of this training have 8; .*--asr_stats_dir DIR"
    )
    with pytest.raises(SystemExit, match=message):
        program.main(command(corpus, tmp_path / "exp", config))
    assert not (tmp_path / "exp").exists()
    config = search_config(**statistics(tmp_path / "feats_stats.npz", 8), max_epoch=1)
    program.main(command(corpus, tmp_path / "exp", config))


def test_statistics_of_a_front_end_of_its_own_kind(corpus, tmp_path):
    """The model knows its size where the options do not."""
    config = search_config(**statistics(tmp_path / "stats.npz", 9), max_epoch=1)
    config["frontend"] = "sliding_window"
    config["frontend_conf"] = {"fs": 8000, "win_length": 64, "channels": 1}
    config["encoder_conf"] = {"width": 6, "layers": ["tdnn-C1S3D1", CHOICE]}
    with pytest.raises(SystemExit, match="of 9 dimensions, but the .* have 64"):
        program.main(command(corpus, tmp_path / "exp", config))
