"""ProxylessNAS in the same supernet."""

from __future__ import annotations

import itertools

import pytest
import torch

from espnet_stnas.estimators import build_estimator
from tests.conftest import batch, double_network, tiny_space
from tests.estimators.toys import cpu_generator, logit_gradients, path_gates

LOGITS = torch.tensor([0.5, -1.0, 0.0, 1.2], dtype=torch.double)


def test_a_pair_is_straight_through_in_a_choice_of_two():
    """For every pair and either active path, with the same scores."""
    s = torch.randn(4, dtype=torch.double)
    proxyless, st = build_estimator("proxyless"), build_estimator("st")
    for pair in itertools.combinations(range(4), 2):
        for active in (0, 1):
            logits = LOGITS.clone().requires_grad_()
            gate = proxyless.gate(logits, torch.tensor(pair), active)
            assert gate.active == (pair[active],)
            assert gate.scored == (pair[1 - active],)
            (gradient,) = torch.autograd.grad(gate.coefficients, logits, s)
            small = LOGITS[list(pair)].requires_grad_()
            c = st.gate(small, active).coefficients
            (expected,) = torch.autograd.grad(c, small, s[list(pair)])
            torch.testing.assert_close(gradient[list(pair)], expected)
            others = set(range(4)) - set(pair)
            assert not gradient[list(others)].any()


def test_with_both_of_two_candidates_it_is_straight_through():
    space = tiny_space("tdnn", ["tdnn-C1", "identity"], ["zero", "tdnn-C1D2"])
    supernet = double_network(space).train()
    inputs = batch()
    estimator = build_estimator("proxyless")
    pair = torch.tensor([0, 1])
    for path in itertools.product((0, 1), repeat=2):
        one = logit_gradients(
            supernet,
            [
                estimator.gate(p, pair, k)
                for p, k in zip(supernet.logits, path, strict=True)
            ],
            inputs,
        )
        st = path_gates(build_estimator("st"), supernet.logits, path)
        other = logit_gradients(supernet, st, inputs)
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b)


def test_pairs_follow_their_distribution():
    """Without replacement from pi, then by the pair's own softmax: 4000 draws."""
    estimator, generator = build_estimator("proxyless"), cpu_generator()
    p = torch.softmax(LOGITS, 0)
    counts: dict[tuple[int, int], int] = {}
    for _ in range(4000):
        gate = estimator.architecture_gate(LOGITS, generator)
        key = (gate.active[0], gate.scored[0])
        counts[key] = counts.get(key, 0) + 1
    total = 0.0
    for i, j in itertools.permutations(range(4), 2):
        pair = p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j]))
        expected = float(pair * p[i] / (p[i] + p[j]))
        total += expected
        deviation = (expected * (1 - expected) / 4000) ** 0.5
        assert abs(counts.get((i, j), 0) / 4000 - expected) < 5 * deviation
    assert total == pytest.approx(1.0)


@pytest.mark.parametrize("touched", [{0, 2}, {1, 3}, {0, 1, 3}, {0, 1, 2, 3}])
def test_update_leaves_other_probabilities_where_they_were(touched):
    """Whatever the optimizer did, momentum and all."""
    before = LOGITS.clone()
    logits = before + torch.randn(4, dtype=torch.double)
    ratio = torch.softmax(logits, 0)[sorted(touched)]
    build_estimator("proxyless").after_update(logits, before, frozenset(touched))
    old, new = torch.softmax(before, 0), torch.softmax(logits, 0)
    others = sorted(set(range(4)) - touched)
    torch.testing.assert_close(new[others], old[others])
    # And among the touched ones the optimizer's ratios stand.
    kept = new[sorted(touched)]
    torch.testing.assert_close(kept / kept.sum(), ratio / ratio.sum())
    assert not torch.allclose(new, old)


def test_update_without_gates_changes_nothing():
    logits = LOGITS.clone()
    build_estimator("proxyless").after_update(logits, LOGITS - 1, frozenset())
    assert torch.equal(logits, LOGITS)


def test_certain_choice_still_has_pairs():
    logits = torch.tensor([900.0, 0.0, -900.0], dtype=torch.double)
    gate = build_estimator("proxyless").architecture_gate(logits, cpu_generator())
    assert gate.active == (0,)
    assert len(gate.scored) == 1
