"""A search of some epochs; benchmarks/creep.py runs thousands of steps."""

from __future__ import annotations

import pytest

from benchmarks.creep import measure


@pytest.mark.slow
def test_nothing_piles_up_with_the_steps(tmp_path):
    epochs = measure(tmp_path, max_epoch=5, num_iters_per_epoch=30)
    objects = [epoch["objects"] for epoch in epochs]
    # The first epochs fill caches. Then an epoch leaves its results (38 objects, with
    # 90 steps as with 30), and its 30 steps of each kind leave nothing behind.
    assert abs(objects[4] - objects[3]) < 60
    assert abs(objects[3] - objects[2]) < 60
