"""The estimate of the time left, against searches whose times are known."""

from __future__ import annotations

import logging

import pytest
import torch

from espnet_stnas.results.curves import CurvePoint, start_epoch, write_point
from espnet_stnas.search.time_left import TimeLeft, one_estimate, relative_time
from tests.search.test_step_log import search_run

STEPS = 40


def estimates(tmp_path, *, steps, validation, first=1, **options):
    """Estimate and truth of every tenth step; ``steps``: seconds of both kinds."""
    run = search_run(tmp_path, **options)
    last = run.options.max_epoch

    def train(epoch: int) -> float:
        return steps[run.is_searching(epoch)] * STEPS

    for epoch in range(first, last + 1):
        log = TimeLeft(run, epoch, STEPS)
        start_epoch(tmp_path, epoch)
        ahead = sum(train(e) + validation for e in range(epoch, last + 1))
        for step in range(10, STEPS + 1, 10):
            seconds = steps[run.is_searching(epoch)] * step
            yield epoch, log(step, seconds), ahead - seconds
        warmup = not run.is_searching(epoch)
        for valid_loss, end in ((None, train(epoch)), (1.0, train(epoch) + validation)):
            point = CurvePoint(epoch, STEPS, STEPS, warmup, 1.0, valid_loss=valid_loss)
            write_point(tmp_path, CurvePoint(**{**vars(point), "seconds": end}))


@pytest.mark.parametrize("validation", [0.0, 8.0, 40.0])
def test_estimates_are_right_to_thirty_percent(tmp_path, validation):
    """Also in the warm-up, for a search step of the usual relative length."""
    ratio = relative_time(search_run(tmp_path))
    options = {"warmup_epochs": 5, "max_epoch": 12, "steps": (1.0, 1.1 * ratio)}
    for epoch, found, truth in estimates(tmp_path, validation=validation, **options):
        if epoch > 1 or not validation:
            assert found == pytest.approx(truth, rel=0.1), (epoch, truth)
        elif validation < 40.0:
            # Before the first validation, nobody knows what it takes.
            assert found == pytest.approx(truth, rel=0.3), (epoch, truth)


def test_a_resumed_search_knows_the_epoch_before(tmp_path):
    options = {"warmup_epochs": 2, "steps": (1.0, 3.0), "validation": 30.0}
    list(estimates(tmp_path, max_epoch=3, **options))
    for _, found, truth in estimates(tmp_path, max_epoch=5, first=4, **options):
        assert found == pytest.approx(truth)


def test_a_slow_first_step_does_not_deceive(tmp_path):
    options = {"warmup_epochs": 0, "steps": (1.0, 2.0), "validation": 0.0}
    list(estimates(tmp_path, max_epoch=1, **options))
    log = TimeLeft(search_run(tmp_path, max_epoch=2), 2, STEPS)
    assert log(1, 6.0) == pytest.approx(2.0 * (STEPS - 1), rel=0.45)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Two candidates; a weight step is 1.
        ({}, 1 + 2.3 / 3),
        ({"arch_data": "joint"}, 1 + 0.7 / 3),
        ({"estimator": "uniform"}, 1.0),
        ({"estimator": "darts"}, 2 + 3.2 / 3),
        ({"estimator": "darts", "estimator_conf": {"order": 2}}, 2 + 4 * 3.2 / 3),
    ],
)
def test_relative_time_goes_by_what_runs(tmp_path, options, expected):
    run = search_run(tmp_path, **options)
    state = torch.get_rng_state()
    assert relative_time(run) == pytest.approx(expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_only_the_estimate_of_espnet_is_dropped(caplog):
    caplog.set_level(logging.INFO)
    with one_estimate():
        logging.info("2/9epoch started. Estimated time to finish: 3 minutes")
        logging.info("Estimated time to finish: of something else")
    logging.info("3/9epoch started. Estimated time to finish: 3 minutes")
    assert caplog.messages == [
        "2/9epoch started.",
        "Estimated time to finish: of something else",
        "3/9epoch started. Estimated time to finish: 3 minutes",
    ]
