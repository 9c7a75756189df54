"""Intervals on numbers whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.intervals import RATE, WORDS, drawn, intervals
from espnet_stnas.results.error_rates import interval
from espnet_stnas.selection.comparison import Comparison, Group


@pytest.mark.parametrize(("architectures", "seeds"), [(1, 3), (3, 1), (8, 2)])
def test_intervals_have_the_true_rate_as_often_as_they_say(architectures, seeds):
    rng = np.random.default_rng(1)
    found = np.array(list(intervals(rng, architectures, seeds, 400)))
    own, utterances, both = ((found[:, :, 0] <= RATE) & (found[:, :, 1] >= RATE)).mean(
        axis=0
    )
    # Of 400 draws at 95 %, one in a thousand lies lower.
    assert 0.915 <= own <= 0.99
    # Plain bootstraps miss it more often.
    assert utterances < 0.8 and both < own


@pytest.mark.parametrize("seeds", (1, 3))
def test_equal_groups_are_seldom_said_to_differ(seeds):
    rng = np.random.default_rng(2)
    wrong = []
    for _ in range(400):
        # Of the same kind: seeds as different as architectures.
        errors, said = drawn(rng, seeds + 3, 1, spread=0.02)
        own = [[training for (training,) in errors[:seeds]]]
        groups = {"one": Group(own), "random": Group(errors[seeds:])}
        comparison = Comparison(groups, said, samples=400)
        wrong.append(comparison.difference("one", "random").excludes_zero)
    assert 0.005 <= np.mean(wrong) <= 0.075


def test_a_difference_is_found_and_paired():
    """What makes utterances hard for all does not hide a difference."""
    rng = np.random.default_rng(3)
    hard = rng.integers(0, 8, 200)
    better = [[np.maximum(hard - (rng.random(200) < 0.3), 0) for _ in range(3)]]
    same = [[hard + (rng.random(200) < 0.02) for _ in range(3)]]
    comparison = Comparison({"a": Group(better), "b": Group(same)}, [WORDS] * 200)
    found = comparison.difference("a", "b")
    assert found.excludes_zero and found.high < 0
    assert found.low <= found.value <= found.high
    a, b = comparison.rate("a"), comparison.rate("b")
    assert found.value == pytest.approx(a.value - b.value)
    assert a.high > b.low  # unpaired, they overlap


def test_one_training_has_the_interval_of_a_score():
    rng = np.random.default_rng(4)
    errors, said = rng.integers(0, 3, 300), rng.integers(1, 9, 300)
    found = Comparison({"a": Group([[errors]])}, said).rate("a")
    assert found.value == pytest.approx(100 * errors.sum() / said.sum())
    expected = interval(errors.tolist(), said.tolist())
    assert (found.low, found.high) == pytest.approx(expected, abs=0.15)


def test_same_numbers_same_intervals():
    errors = [[[1, 0, 2], [0, 0, 1]]]
    one, other = (Comparison({"a": Group(errors)}, [3, 3, 3]) for _ in range(2))
    assert one.rate("a") == other.rate("a")
