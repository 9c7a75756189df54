"""Architectures as large as a limit allows, against all architectures."""

from __future__ import annotations

import pytest

from espnet_stnas.errors import ConfigError
from espnet_stnas.selection import equal_size
from espnet_stnas.selection.equal_size import largest_path, paths_between
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
    assert largest_path(limit.measure, [limit]) == max(
        p for p, c in costs.items() if c == most
    )


def test_merged_sums_are_nearly_the_largest(limit, monkeypatch):
    exact = limit.measure.least(largest_path(limit.measure, [limit]))
    monkeypatch.setattr(equal_size, "_SUMS", 20)
    found = limit.measure.least(largest_path(limit.measure, [limit]))
    assert exact * 0.9 <= found <= exact


@pytest.mark.parametrize("most", (100_000, 100))
def test_equal_ones(monkeypatch, most):
    """Of few architectures, all are looked at; of many, some are drawn."""
    limit = Measures(SPACE, 4).limit("params=75%")
    known = equal(limit)
    assert len(known) > 10
    monkeypatch.setattr(equal_size, "_MOST", most)
    bounds = 0.97 * limit.most, limit.most

    def draw(count):
        return paths_between(SPACE, limit.measure, bounds, [], count=count, seed=0)

    drawn = draw(2)
    assert len(set(drawn)) == 2 and set(drawn) <= known
    assert drawn == draw(2)
    with pytest.raises(ConfigError, match="random is .*, but the space"):
        draw(len(known) + 1)


def test_the_largest_within_limits_of_several_costs():
    measures = Measures(SPACE, 4)
    limits = [measures.limit("params=80%"), measures.limit("macs=70%")]
    keep = [p for p in all_paths(SPACE) if all(limit.allows(p) for limit in limits)]
    params = measures["params"]
    assert params.least(largest_path(params, limits)) == max(map(params.least, keep))
    assert params.least(largest_path(params, [])) == params.maximum
