"""kill -9 and start again; benchmarks/kills.py does more of it."""

from __future__ import annotations

import random

import pytest
import torch

from benchmarks.kills import PHASES, Trial, kill_one, results


@pytest.fixture(scope="module")
def trial(tmp_path_factory) -> Trial:
    return Trial(tmp_path_factory.mktemp("kills"))


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_run_ends_as_if_nothing_had_happened(trial, phase):
    number = list(PHASES).index(phase)
    kill_one(trial, phase, number, random.Random(number))


@pytest.mark.slow
def test_results_are_those_of_everything_that_counts(trial):
    search = trial.expected["search"]
    assert {
        "checkpoint.pth",
        "latest.pth",
        "valid.loss.best.pth",
        "valid.loss.ave_2best.pth",
        "architectures/4epoch.yaml",
        "split/weights/shape",
    } <= search.keys()
    assert "config.yaml" not in search
    assert {"architecture.yaml", "train.yaml"} == trial.expected["derive"].keys()


def test_results_notice_a_single_bit(tmp_path):
    state = {"model": {"w": torch.zeros(3)}, "reporter": {"loss": 0.5, "a_time": 1.0}}
    digests = []
    for change in (0.0, 1.0, 2.0):
        state["reporter"]["a_time"] = change
        if change == 2.0:
            state["model"]["w"][1] = torch.finfo(torch.float32).tiny
        torch.save(state, tmp_path / "checkpoint.pth")
        digests.append(results(tmp_path)["checkpoint.pth"])
    assert digests[0] == digests[1] != digests[2]
