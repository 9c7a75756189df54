"""The evolution, fronts and their volume, against enumeration."""

from __future__ import annotations

import itertools
import random

import pytest

from espnet_stnas.errors import ConfigError
from espnet_stnas.selection.evolution import (
    Evolution,
    evolve,
    hypervolume,
    non_dominated,
    ranked,
)

SIZES = [4] * 6
EVERY = list(itertools.product(*map(range, SIZES)))


def landscape(seed):
    """Values in which good candidates help each other a little."""
    generator = random.Random(seed)
    single = [[generator.random() for _ in range(4)] for _ in SIZES]
    double = [
        [[0.3 * generator.random() for _ in range(4)] for _ in range(4)] for _ in SIZES
    ]

    def value(path):
        pairs = zip(double, path, path[1:], strict=False)
        return sum(row[k] for row, k in zip(single, path, strict=True)) + sum(
            table[a][b] for table, a, b in pairs
        )

    return value


def run(objectives, options, fits=lambda path: True):
    generator = random.Random(options.seed)
    start = generator.sample([p for p in EVERY if fits(p)], options.population)
    counted = []

    def evaluate(paths):
        counted.extend(paths)
        return [tuple(f(path) for f in objectives) for path in paths]

    known = evolve(SIZES, start, evaluate, fits, options)
    assert len(counted) == len(set(counted)) == len(known) <= options.evaluations
    return known


@pytest.mark.parametrize("seed", range(5))
def test_one_objective_ends_at_the_best(seed):
    """With a ninth of the space, which random draws would find one time in nine."""
    value = landscape(seed)
    known = run([value], Evolution(24, 18, seed))
    best = sorted(map(value, EVERY))
    assert min(known.values())[0] <= best[2]


def test_the_same_seed_gives_the_same_evolution():
    value = landscape(0)
    one, other, third = (
        list(run([value], Evolution(10, 5, seed))) for seed in (1, 1, 2)
    )
    assert one == other != third


def test_limits_hold_for_every_architecture():
    def fits(path):
        return sum(path) <= 7

    known = run([landscape(0)], Evolution(20, 10), fits)
    assert all(map(fits, known))


def test_it_ends_when_there_is_nothing_new():
    def fits(path):
        return path[:4] == (0,) * 4

    assert len(run([landscape(0)], Evolution(4, 100), fits)) == 16


@pytest.mark.parametrize("seed", range(3))
def test_two_objectives_find_most_of_the_front(seed):
    """In volume: more than random draws of the same number."""
    objectives = landscape(seed), landscape(seed + 10)
    options = Evolution(30, 15, seed)
    known = run(objectives, options)
    every = {path: tuple(f(path) for f in objectives) for path in EVERY}
    drawn = random.Random(seed).sample(EVERY, len(known))
    worst = tuple(map(max, zip(*every.values(), strict=True)))
    found, best, random_ones = (
        hypervolume([every[path] for path in paths], worst)
        for paths in (non_dominated(some, every) for some in (known, EVERY, drawn))
    )
    assert found <= best + 1e-12
    assert found > 0.97 * best
    assert found > random_ones


def test_fronts_by_definition():
    generator = random.Random(0)
    for size in (1, 2, 3):
        values = {
            (n,): tuple(generator.randrange(6) for _ in range(size)) for n in range(60)
        }
        front = non_dominated(list(values), values)
        for path, own in values.items():
            beaten = any(
                other != own and all(a <= b for a, b in zip(other, own, strict=True))
                for other in values.values()
            )
            assert (path in front) == (not beaten)
        order = ranked(list(values), values)
        assert sorted(order) == sorted(values)
        assert set(order[: len(front)]) == set(front)


def test_volumes_by_counting_cells():
    generator = random.Random(0)
    for size in (1, 2, 3, 4):
        points = [
            tuple(float(generator.randrange(7)) for _ in range(size)) for _ in range(5)
        ]
        cells = sum(
            any(all(a <= c for a, c in zip(p, cell, strict=True)) for p in points)
            for cell in itertools.product(range(6), repeat=size)
        )
        assert hypervolume(points, (6.0,) * size) == cells


def test_wrong_numbers():
    for wrong in ({"population": 1}, {"generations": -1}, {"seed": -1}):
        name = next(iter(wrong))
        with pytest.raises(ConfigError, match=f"{name} is .*; accepted is an integer"):
            Evolution(**wrong)
