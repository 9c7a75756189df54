"""What is said of a supernet, given the losses of its paths."""

from __future__ import annotations

import math
import random

import pytest

from espnet_stnas.errors import ConfigError
from espnet_stnas.results.health import (
    FILE,
    Health,
    Sample,
    read_health,
    summarise,
    write_health,
)

GOOD = Sample(6, 50, 100, loss=10.0, spread=2.0, noise=0.5, error=0.3, tau=0.6)
REFERENCE = Sample(2, 1, 100, loss=12.0, spread=0.0, noise=0.0, error=0.4)


def test_spread_and_noise_of_simulated_losses():
    """Paths differ by 0.5, batches by 5, and what is left is 2 for each batch."""
    draws = random.Random(0)
    batches = [draws.gauss(0, 5) for _ in range(16)]
    losses = []
    for _ in range(2000):
        path = draws.gauss(20, 0.5)
        losses.append([path + b + draws.gauss(0, 2) for b in batches])
    sample = summarise(1, losses, [1.0] * 16, 64)
    assert sample.noise == pytest.approx(2 / math.sqrt(16), rel=0.03)
    assert sample.spread == pytest.approx(math.hypot(0.5, 0.5), rel=0.05)
    assert not sample.differ


def test_losses_are_weighted_and_paths_without_interaction_have_no_noise():
    sample = summarise(1, [[1.0, 4.0], [2.0, 5.0]], [3.0, 1.0], 4, [0.2, 0.4])
    assert sample.loss == pytest.approx(2.25)
    assert sample.spread == pytest.approx(math.sqrt(0.5))
    assert sample.noise == pytest.approx(0)
    assert sample.error == pytest.approx(0.3)
    assert sample.differ
    assert summarise(1, [[3.0]], [1.0], 1).spread == 0


@pytest.mark.parametrize(
    ("changes", "reference", "expected"),
    [
        ({}, REFERENCE, True),
        ({"loss": 12.1}, REFERENCE, False),
        ({"loss": math.nan}, None, False),
        ({}, None, True),
        ({"error": 0.95}, None, False),
        ({"error": None}, None, None),
    ],
)
def test_a_supernet_is_trained_if_its_paths_reach_the_reference(
    changes, reference, expected
):
    sample = Sample(**{**vars(GOOD), **changes})
    health = Health((sample,), reference)
    assert health.trained(sample) is expected
    assert (health.untrained is not None) == (expected is False)
    assert health.ready(sample) == (expected is True)


def test_findings_are_sentences():
    good, bad = Health((GOOD,), REFERENCE).findings()
    assert not bad
    assert good == [
        "the supernet is trained: its paths have a loss of 10.00 and 30% errors on "
        "average after epoch 6, and its largest architecture had a loss of 12.00 and "
        "40% errors after 2 epochs alone",
        "the losses of 50 paths differ by 2 (standard deviation), and 0.5 of it is "
        "noise of the 100 utterances",
        "the logits and the shared weights rank 50 paths with a Kendall's tau of 0.60",
    ]
    poor = Sample(6, 50, 100, loss=40.0, spread=0.6, noise=0.5, error=1.0, tau=0.1)
    good, bad = Health((poor,)).findings()
    assert not good
    assert [text[:40] for text in bad] == [
        "the supernet is not trained: its paths h",
        "the losses of 50 paths differ by 0.6 (st",
        "the logits and the shared weights rank 5",
    ]
    assert Health().findings() == ([], [])


def test_the_file_is_read_as_it_was_written(tmp_path):
    health = Health((GOOD,), REFERENCE, 5)
    write_health(tmp_path, health)
    assert read_health(tmp_path) == health
    assert health.up_to(5) == Health((), REFERENCE, 5)
    assert health.up_to(1) == Health()
    (tmp_path / FILE).write_text("samples: 3\n")
    with pytest.raises(ConfigError, match=r"supernet.yaml is damaged \(KeyError"):
        read_health(tmp_path)
    assert read_health(tmp_path / "missing") == Health()
