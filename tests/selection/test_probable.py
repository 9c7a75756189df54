"""Exact selection by probability, and draws, against enumeration."""

from __future__ import annotations

import math
import random
import time

import pytest

from espnet_stnas.cost.latency import measure_latency
from espnet_stnas.cost.table import CostTable
from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.reach import view_of
from espnet_stnas.selection.limits import AddedCost, Limit, Measures, allowed
from espnet_stnas.selection.paths import all_paths
from espnet_stnas.selection.probable import (
    draw,
    log_probabilities,
    log_probability,
    most_probable,
)
from espnet_stnas.selection.select import Selector
from tests.conftest import tiny_space

CANDIDATES = ["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1", "tdnn-C2D2"]
SPACE = tiny_space("tdnn-C0", *[CANDIDATES] * 2, "tdnn-S3", *[CANDIDATES] * 2)


def random_pi(sizes, seed):
    generator = random.Random(seed)
    rows = [[generator.expovariate(1.0) for _ in range(size)] for size in sizes]
    return log_probabilities([[x / sum(row) for x in row] for row in rows])


def some_limits(tightness):
    """Limits of several kinds, each between the least and the most of the space."""
    measures = Measures(SPACE, 5, frames=60)
    limits = []
    for kind in ("field", "params", "macs"):
        least, most = measures[kind].least(()), measures[kind].maximum
        limits.append(Limit(measures[kind], most - tightness * (most - least), kind))
    return limits


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("top", (1, 7))
def test_the_best_of_all_that_keep_the_limits(seed, top):
    limits = some_limits(seed / 7)
    log_pi = random_pi([4] * 4, seed)
    fitting = [path for path in all_paths(SPACE) if allowed(limits, path)]
    found = most_probable(log_pi, limits, top)
    best = sorted((log_probability(log_pi, p) for p in fitting), reverse=True)[:top]
    assert [log_probability(log_pi, p) for p in found] == pytest.approx(best)
    assert set(found) <= set(fitting) and len(set(found)) == len(found)


def test_these_limits_leave_all_some_or_one():
    """So that the test above is one."""
    counts = [
        sum(allowed(some_limits(seed / 7), path) for path in all_paths(SPACE))
        for seed in range(8)
    ]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (256, 1) and len(set(counts)) > 4


def test_costs_are_those_of_the_architecture():
    measures = Measures(SPACE, 5, frames=60, frame_shift=12.5)
    for path in all_paths(SPACE)[::17]:
        view = view_of(SPACE.resolve(path))
        assert measures["field"].least(path) == view.left + 1 + view.right
        assert measures["lookahead"].least(path) == view.right * 12.5
        alone = Measures(SPACE.resolve(path), 5, frames=60)
        for kind in ("params", "macs"):
            assert measures[kind].least(path) == alone[kind].least(())
    for measure in map(measures.__getitem__, ("params", "macs", "field", "lookahead")):
        costs = [measure.least(path) for path in all_paths(SPACE)]
        assert (min(costs), max(costs)) == (measure.least(()), measure.maximum)
        assert measure.least((3,)) == min(
            measure.least(path) for path in all_paths(SPACE) if path[0] == 3
        )


def knapsack(choices, candidates, seed):
    """Costs that hardly say anything of probabilities, and a limit in the middle."""
    generator = random.Random(seed)
    rows = [[generator.random() for _ in range(candidates)] for _ in range(choices)]
    table = CostTable("params", 1.0, tuple(map(tuple, rows)))
    measure = AddedCost(table, SPACE)
    return Limit(measure, 0.3 * table.minimum + 0.7 * table.maximum * 0.5, "max")


@pytest.mark.parametrize("seed", range(3))
def test_large_spaces_take_no_time(seed):
    """8^20 architectures, two limits."""
    log_pi = random_pi([8] * 20, seed)
    limits = [knapsack(20, 8, 2 * seed), knapsack(20, 8, 2 * seed + 1)]
    start = time.process_time()
    found = most_probable(log_pi, limits, 5)
    assert time.process_time() - start < 20
    assert len(found) == 5 and all(allowed(limits, path) for path in found)
    assert not all(allowed(limits, path) for path in most_probable(log_pi, [], 5))


def test_equal_probabilities_take_no_time():
    log_pi = log_probabilities([[0.125] * 8] * 20)
    limits = [knapsack(20, 8, 0)]
    assert len(most_probable(log_pi, limits, 5)) == 5


def test_probabilities_that_were_rounded_to_zero():
    found = most_probable(log_probabilities([[1.0, 0.0], [0.0, 1.0]]), [], 9)
    assert found[0] == (0, 1) and len(found) == 4


def test_draws_keep_the_limits_and_follow_pi():
    limits = some_limits(0.6)
    log_pi = random_pi([4] * 4, 0)
    generator = random.Random(0)
    drawn = [draw(log_pi, limits, generator) for _ in range(300)]
    assert all(path is not None and allowed(limits, path) for path in drawn)
    free = [draw(log_pi, [], generator) for _ in range(4000)]
    for k in range(4):
        share = sum(path[0] == k for path in free) / len(free)
        assert share == pytest.approx(math.exp(log_pi[0][k]), abs=0.03)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("params", "max is 'params'; accepted are params, macs, latency, lookahead, f"),
        ("flops=1", "max is 'flops=1'; accepted are params"),
        ("params=8X", "max: params is '8X'; accepted is a number above 0"),
        ("params=0", "max: params is '0'; accepted is a number above 0"),
        ("params=50% of ff", "'ff' is no candidate of layer 2"),
        ("latency=9", "latencies are not known; give --latency_table"),
    ],
)
def test_limits_that_are_none(text, problem):
    with pytest.raises(ConfigError, match=problem):
        Measures(SPACE, 5).limit(text)


def test_shares_are_of_the_largest_or_of_a_named_architecture():
    measures = Measures(SPACE, 5)
    whole = measures["params"].maximum
    assert measures.limit("params=60%").most == pytest.approx(0.6 * whole)
    small = measures["params"].least((0,) * 4)
    assert measures.limit("params=50% of tdnn-C1D1").most == 0.5 * small
    attention = tiny_space("tdnn", ["transformer-H2", "transformer-H4"])
    with pytest.raises(ConfigError, match="sees the whole utterance; accepted is a nu"):
        Measures(attention, 5).limit("field=50%")
    with pytest.raises(ConfigError, match="the parameters of this space are unknown"):
        Measures(SPACE, None).limit("params=50%")


def test_latencies_of_another_device(tmp_path):
    file = tmp_path / "table.yaml"
    measure_latency(SPACE, 5, 30, repeat=1).write(file)
    good = Measures(SPACE, 5, latency_table=file, latency_device="")
    assert good.limit("latency=100%").most == good["latency"].maximum
    bad = Measures(SPACE, 5, latency_table=file, latency_device="Pixel 9")
    with pytest.raises(ConfigError, match="was measured on .*latency_device is 'Pixel"):
        bad.limit("latency=100%")


def test_limits_that_no_architecture_keeps():
    measures = Measures(SPACE, 5)
    log_pi = random_pi([4] * 4, 0)
    small = measures["params"].least(())
    with pytest.raises(ConfigError, match=f"the cheapest has {small:,.0f} parameters"):
        Selector(SPACE, log_pi, [measures.limit("params=9")], [])
    # Wide contexts are not cheap: a table of its own says the contrary.
    table = CostTable("macs", 0.0, ((9.0, 9.0, 1.0, 1.0),) * 4)
    both = [
        Limit(measures["params"], small, "max params"),
        Limit(AddedCost(table, SPACE), 4.0, "max macs"),
    ]
    with pytest.raises(
        ConfigError, match="keeps max params and max macs together; the cheapest ones"
    ):
        Selector(SPACE, log_pi, both, [])
