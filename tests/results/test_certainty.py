"""Figures of certainty, by hand, and the warnings that follow from them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

from espnet_stnas.estimators import ESTIMATORS, build_estimator
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results import certainty
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import SearchPlan, certainties, doubts
from espnet_stnas.results.provenance import search_provenance

# Choices of two and of four candidates: layers 2 and 3.
SPACE = SearchSpace.from_conf(
    {
        "width": 8,
        "layers": [
            "tdnn-C1S3D1",
            ["tdnn-C1D1", "tdnn-C2D2"],
            ["tdnn-C1D1", "tdnn-C1D2", "zero", "identity"],
        ],
    }
)
EVEN = ([0.5, 0.5], [0.25] * 4)
MOVED = ([0.3, 0.7], [0.1, 0.6, 0.2, 0.1])
GONE = ([0.002, 0.998], [0.002, 0.994, 0.002, 0.002])


def history(*epochs: tuple, warmup: int = 1) -> list[Architecture]:
    """The probabilities of the epochs of search, after some of warm-up."""
    found = []
    for number, pi in enumerate([EVEN] * warmup + list(epochs), start=1):
        best = [max(range(len(p)), key=p.__getitem__) for p in pi]
        provenance = search_provenance(
            SPACE, pi, epoch=number, seed=0, searching=number > warmup
        )
        found.append(Architecture(SPACE.resolve(best), provenance))
    return found


def kinds(found: list[certainty.Doubt]) -> list[tuple[int, str]]:
    return [(doubt.layer, doubt.kind) for doubt in found]


def test_margin_and_entropies():
    """Entropy of 1/2, 1/4, 1/8, 1/8: (1/2 + 2/4 + 3/8 + 3/8) ln 2 = 7/4 ln 2."""
    pi = [0.125, 0.5, 0.125, 0.25]
    assert certainty.margin(pi) == 0.25
    assert certainty.entropy(pi) == pytest.approx(1.75 * math.log(2))
    assert certainty.relative_entropy(pi) == pytest.approx(1.75 / 2)
    assert certainty.relative_entropy([1.0, 0.0]) == 0
    # As rounded in an architecture file: they add up to 0.999999, or to 1.000002.
    for pi in ([0.333333] * 3, [0.166667] * 6):
        assert certainty.relative_entropy(pi) == pytest.approx(1, abs=1e-12)
        assert certainty.margin(pi) == 0


def test_certainties_of_a_history():
    """Layer 2 turns over in the last epoch, layer 3 in the second."""
    flips = [
        ([0.8, 0.2], [0.7, 0.1, 0.1, 0.1]),
        ([0.4, 0.6], [0.2, 0.6, 0.1, 0.1]),
        ([0.7, 0.3], [0.2, 0.6, 0.1, 0.1]),
        ([0.45, 0.55], [0.15, 0.6, 0.2, 0.05]),
    ]
    two, four = certainties(history(*flips, warmup=3))
    assert (two.layer, two.op) == (2, "tdnn-C2D2")
    assert (two.searched, two.unchanged, two.agreed, two.window) == (4, 1, 2, 4)
    assert two.margin == pytest.approx(0.1)
    assert (four.layer, four.op) == (3, "tdnn-C1D2")
    assert (four.searched, four.unchanged, four.agreed) == (4, 3, 3)
    assert four.margin == pytest.approx(0.4)
    expected = sum(-p * math.log(p) for p in flips[-1][1])
    assert four.entropy == pytest.approx(expected)
    assert four.relative_entropy == pytest.approx(expected / math.log(4))


def test_stability_counts_the_last_ten_epochs():
    other = ([0.7, 0.3], [0.6, 0.1, 0.2, 0.1])
    two, _ = certainties(history(*[MOVED] * 5, other, *[MOVED] * 8))
    assert (two.searched, two.unchanged, two.agreed, two.window) == (14, 8, 9, 10)


def test_equal_probabilities_choose_nothing():
    """The first of equals stands in the architecture, but not by a decision."""
    two, four = certainties(history(EVEN, MOVED, ([0.5, 0.5], MOVED[1])))
    assert (two.op, two.unchanged, two.agreed) == ("tdnn-C1D1", 0, 0)
    assert (four.unchanged, four.agreed) == (2, 2)


def test_only_warm_up_knows_nothing():
    plan = SearchPlan(epochs=10)
    assert certainties(history(warmup=5)) == []
    assert doubts(history(warmup=5), plan, ended=True) == []
    assert doubts([], plan) == []


@pytest.mark.parametrize(
    "epochs",
    [
        [EVEN],
        [GONE],
        [EVEN, EVEN],
        [GONE, GONE],
    ],
)
def test_no_alarm_in_a_try_of_one_or_two_epochs(epochs):
    for planned in (None, len(epochs)):
        plan = SearchPlan(epochs=planned)
        assert doubts(history(*epochs), plan, ended=True) == []


def test_no_alarm_in_a_healthy_search():
    """Probabilities of layers 2 and 5 of the picture in README, and a late decision."""
    second = [0.28, 0.33, 0.37, 0.36, 0.4, 0.41, 0.405, 0.41, 0.415, 0.415]
    fifth = [0.4, 0.53, 0.63, 0.69, 0.74, 0.76, 0.8, 0.82, 0.95, 0.99]
    epochs = [
        ([p, 1 - p], [(1 - q) / 3, (1 - q) / 3, q, (1 - q) / 3])
        for p, q in zip(fifth, second, strict=True)
    ]
    for end in range(1, 11):
        for plan in (SearchPlan(epochs=10), SearchPlan()):
            assert doubts(history(*epochs[:end]), plan) == []
    assert doubts(history(*epochs), SearchPlan(epochs=10), ended=True) == []


def test_not_moved_is_said_from_half_of_the_search_on():
    plan = SearchPlan(epochs=10)
    near = ([0.55, 0.45], [0.3, 0.24, 0.23, 0.23])
    for end in range(1, 5):
        assert doubts(history(*[near] * end), plan) == []
    found = doubts(history(*[near] * 5), plan)
    assert kinds(found) == [(2, "unmoved"), (3, "unmoved")]
    value = certainty.relative_entropy(near[0])
    assert found[0].text == (
        f"layer 2 has not moved from uniform: its relative entropy is {value:.4f} "
        "after 5 epochs of search, and 1 is uniform; search for more epochs, or with "
        "a larger lr in optim2_conf (docs/search_health.md)"
    )
    # A search that ended, however long it was meant to be, or that then moved.
    assert kinds(doubts(history(*[near] * 3), plan, ended=True)) == kinds(found)
    assert doubts(history(*[near] * 5, MOVED), plan) == []


def test_each_choice_is_judged_by_its_own_size():
    """.57 : .43 is above 0.98 with two candidates, two even ones of four are not."""
    mixed = ([0.57, 0.43], [0.4, 0.4, 0.1, 0.1])
    assert kinds(doubts(history(*[mixed] * 4), SearchPlan(epochs=4))) == [
        (2, "unmoved")
    ]


def test_choice_that_was_never_touched():
    epochs = [(EVEN[0], MOVED[1])] * 4
    (found,) = doubts(history(*epochs), SearchPlan(epochs=4))
    assert found.text.startswith(
        "layer 2 has not moved from uniform at all in 4 epochs of search: its logits "
        "got no update; look for arch_skipped in the log, and whether the lr of opt"
    )


def test_collapse_is_early_in_the_first_third():
    plan = SearchPlan(epochs=9)
    epochs = [MOVED, (MOVED[0], GONE[1]), (MOVED[0], GONE[1]), GONE]
    assert doubts(history(*epochs[:1]), plan) == []
    value = certainty.relative_entropy(GONE[1])
    for end in (2, 3, 4):
        (found,) = doubts(history(*epochs[:end]), plan)
        assert (found.layer, found.kind) == (3, "collapsed")
        assert found.text == (
            "layer 3 collapsed early: after epoch 2 of 9 of the search, tdnn-C1D2 had "
            f"the probability 0.994 (relative entropy {value:.3f}), and the others "
            "hardly train since then; search with a smaller lr in optim2_conf, or "
            "after a longer warm-up (docs/search_health.md)"
        )
    # One that recovers, or turns over, has not collapsed.
    assert doubts(history(*epochs, MOVED), plan) == []
    turned = (MOVED[0], list(reversed(GONE[1])))
    assert doubts(history(*epochs, turned), plan) == []


def test_estimator_without_gradient_is_no_fault():
    """`uniform` is a baseline: its logits stay where they are by design."""
    plan = SearchPlan("uniform", 10)
    assert doubts(history(*[EVEN] * 10), plan, ended=True) == []
    learn = {name for name in ESTIMATORS if build_estimator(name).learns}
    assert set(ESTIMATORS) - learn == set(certainty.BASELINES)


def noise_walk(updates: int, lr: float, walks: int = 200) -> torch.Tensor:
    """Relative entropies of four candidates after Adam follows nothing but noise."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.zeros(walks, 4, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=lr)
    for _ in range(updates):
        pi = torch.softmax(logits.detach(), 1)
        scores = torch.randn(pi.shape, generator=generator)
        logits.grad = pi * (scores - (pi * scores).sum(1, keepdim=True))
        optimizer.step()
    pi = torch.softmax(logits.detach(), 1)
    return torch.tensor([certainty.relative_entropy(p) for p in pi.tolist()])


def test_threshold_of_not_moved_is_above_what_noise_does():
    """At the paper's learning rate, most walks of 1000 updates are still above it."""
    values = noise_walk(1000, 5.0e-3)
    assert (values > certainty.UNMOVED).float().mean() > 0.8
    assert (values > certainty.COLLAPSED).all()


def test_guide_gives_the_thresholds():
    """The table of docs/search_health.md is what the constants mean."""
    path = Path(__file__).parents[2] / "docs" / "search_health.md"
    text = path.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    assert [int(k) for k, *_ in rows] == [2, 4, 8]
    for k, *largest in rows:
        for value, limit in zip(
            largest, (certainty.UNMOVED, certainty.COLLAPSED), strict=True
        ):
            rest = (1 - float(value)) / (int(k) - 1)
            pi = [float(value)] + [rest] * (int(k) - 1)
            assert certainty.relative_entropy(pi) == pytest.approx(limit, abs=4e-3)
    assert f"above {certainty.UNMOVED}" in text
    assert f"below {certainty.COLLAPSED}" in text
