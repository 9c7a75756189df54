"""Random architectures of equal size, and the largest ones."""

from __future__ import annotations

from collections import Counter

import pytest

from espnet_stnas.errors import ConfigError
from espnet_stnas.selection import equal_size
from espnet_stnas.selection.entrants import check_name, of_equal_size
from espnet_stnas.selection.limits import Measures
from espnet_stnas.selection.paths import all_paths
from tests.conftest import tiny_space

CHOICE = ["tdnn-C1", "tdnn-C2", "ff"]


@pytest.fixture(scope="module")
def measures():
    return Measures(tiny_space(CHOICE, CHOICE, CHOICE), 4)


def sizes_of(measures):
    return {p: measures["params"].least(p) for p in all_paths(measures.space)}


def draw(measures, finalists, tolerance, count, seed=0, limits=()):
    return of_equal_size(
        measures["params"],
        finalists,
        limits,
        tolerance=tolerance,
        count=count,
        seed=seed,
    )


@pytest.mark.parametrize("few", (equal_size._MOST, 1000))
def test_all_of_equal_size_are_equally_likely(measures, few, monkeypatch):
    """Whether the space is small enough to look at all of it, or not."""
    monkeypatch.setattr(equal_size, "_MOST", few)
    size = sizes_of(measures)
    middle = sorted(size, key=size.get)[13]
    fitting = {p for p in size if abs(size[p] - size[middle]) <= 0.1 * size[middle]}
    assert 3 < len(fitting) < 27
    counts = Counter(draw(measures, [middle], 0.1, 1, seed)[0] for seed in range(1000))
    assert set(counts) == fitting
    expected = 1000 / len(fitting)
    # Chi-squared with len(fitting) - 1 degrees of freedom.
    assert sum((c - expected) ** 2 / expected for c in counts.values()) < 3 * len(
        fitting
    )
    several = draw(measures, [middle], 0.1, 3)
    assert len(set(several)) == 3 and several == draw(measures, [middle], 0.1, 3)


def test_between_the_finalists_and_within_limits(measures):
    size = sizes_of(measures)
    order = sorted(size, key=size.get)
    limit = measures.limit(f"params={size[order[13]]:.0f}")
    least, most = size[order[5]], size[order[13]]
    fitting = {p for p in size if least <= size[p] <= most}
    finalists = [order[5], order[20]]
    assert set(draw(measures, finalists, 0.0, len(fitting), 0, [limit])) == fitting


def test_too_many_random_ones(measures):
    with pytest.raises(ConfigError, match="random is 28, but the space has only 27"):
        draw(measures, all_paths(measures.space), 1.0, 28)
    with pytest.raises(ConfigError, match="random is -1; accepted"):
        draw(measures, [(0, 0, 0)], 1.0, -1)
    with pytest.raises(ConfigError, match="tolerance is 1.5; accepted"):
        draw(measures, [(0, 0, 0)], 1.5, 1)


@pytest.mark.parametrize("name", ("", "../x", "a b", "random", "-x"))
def test_names_are_names_of_directories(name):
    check_name("by_hand", "all_C1.D1-x")
    with pytest.raises(ConfigError, match="cannot be the name of an encoder"):
        check_name("by_hand", name)
