"""Plans of successive halving."""

from __future__ import annotations

import pytest

from espnet_stnas.errors import ConfigError
from espnet_stnas.selection.halving import better_ones, epochs_of, plan_halving


@pytest.mark.parametrize(
    ("count", "epochs", "options", "expected", "total"),
    [
        (8, 16, {}, [(2, 8), (4, 4), (8, 2), (16, 1)], 16 + 8 + 8 + 8),
        (8, 16, {"rungs": 1}, [(16, 8)], 128),
        (9, 27, {"eta": 3}, [(3, 9), (9, 3), (27, 1)], 27 + 18 + 18),
        (5, 10, {"rungs": 2}, [(5, 5), (10, 3)], 25 + 15),
        (1, 7, {}, [(7, 1)], 7),
        # As many rungs as the epochs allow.
        (8, 3, {}, [(1, 8), (2, 4), (3, 2)], 8 + 4 + 2),
        (4, 1, {}, [(1, 4)], 4),
    ],
)
def test_plan(count, epochs, options, expected, total):
    plan = plan_halving(count, epochs, **options)
    assert [(rung.epochs, rung.entrants) for rung in plan] == expected
    assert epochs_of(plan) == total


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"rungs": 4},
            "rungs is 4; with max_epoch 3 and eta 2, accepted is an integer",
        ),
        ({"rungs": 0}, "from 1 to 3"),
        ({"eta": 1}, "eta is 1; accepted is an integer of 2 or more"),
    ],
)
def test_impossible_plans(options, text):
    with pytest.raises(ConfigError, match=text):
        plan_halving(8, 3, **options)


def test_the_better_ones_go_on():
    badness = {"a": 3.0, "b": 1.0, "c": float("inf"), "d": 1.0}
    assert better_ones(badness, 2) == ["b", "d"]
