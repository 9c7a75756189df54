"""Architectures as large as a limit allows, against all architectures."""

from __future__ import annotations

import pytest

from espnet_stnas.errors import ConfigError
from espnet_stnas.selection import equal_size
from espnet_stnas.selection.equal_size import equal_paths, largest_path
from espnet_stnas.selection.limits import Measures
from espnet_stnas.selection.paths import all_paths
from tests.conftest import tiny_space

CANDIDATES = ["tdnn-C0D1", "tdnn-C1D1", "tdnn-C1D2", "tdnn-C3D1"]
SPACE = tiny_space(CANDIDATES, "tdnn", CANDIDATES, CANDIDATES[:3], CANDIDATES[1:])


@pytest.fixture(params=("60%", "67%", "85%", "100%"))
def limit(request):
    return Measures(SPACE, 4).limit(f"params={request.param}")


def equal(limit):
    costs = {path: limit.measure.least(path) for path in all_paths(SPACE)}
    return {p for p, c in costs.items() if 0.97 * limit.most <= c <= limit.most}


def test_the_largest_within_a_limit(limit):
    costs = {path: limit.measure.least(path) for path in all_paths(SPACE)}
    most = max(c for c in costs.values() if c <= limit.most)
    assert largest_path(SPACE, limit) == max(p for p, c in costs.items() if c == most)


def test_merged_sums_are_nearly_the_largest(limit, monkeypatch):
    exact = limit.measure.least(largest_path(SPACE, limit))
    monkeypatch.setattr(equal_size, "_SUMS", 20)
    found = limit.measure.least(largest_path(SPACE, limit))
    assert exact * 0.9 <= found <= exact


@pytest.mark.parametrize("most", (100_000, 100))
def test_equal_ones(monkeypatch, most):
    """Of few architectures, all are looked at; of many, some are drawn."""
    limit = Measures(SPACE, 4).limit("params=75%")
    known = equal(limit)
    assert len(known) > 10
    monkeypatch.setattr(equal_size, "_MOST", most)
    drawn = equal_paths(SPACE, limit, 2, 0)
    assert len(set(drawn)) == 2 and set(drawn) <= known
    assert drawn == equal_paths(SPACE, limit, 2, 0)
    with pytest.raises(ConfigError, match="random architectures are asked for, and"):
        equal_paths(SPACE, limit, len(known) + 1, 0)
