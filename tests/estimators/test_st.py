"""Proofs about the estimators that sample a path: by enumeration, never by sampling."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import Gate, build_estimator
from espnet_stnas.estimators.subgraph import (
    chances_beside,
    draw_others,
    inclusion_chances,
)
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.supernet.scores import estimated_scores
from tests.conftest import all_paths, batch, double_network, tiny_space
from tests.estimators.toys import (
    CANDIDATES,
    SPACES,
    cpu_generator,
    draws_of,
    jacobian,
    logit_gradients,
    loss_of,
    path_gates,
)

SAMPLED = ["st", "reinmax", "gumbel_st"]
LOGITS = torch.tensor([0.5, -1.0, 0.0, 1.2], dtype=torch.double)


def closed_form(name, logits, path, s):
    """The architecture gradient as method.md defines it, written without autograd."""
    pi = torch.softmax(logits, 0)
    z = torch.zeros_like(pi)
    z[path] = 1.0
    if name == "reinmax":
        return 2 * jacobian((pi + z) / 2) @ s - 0.5 * jacobian(pi) @ s
    return jacobian(pi) @ s


def recorded_scores(supernet, inputs, path):
    """s_{l,k} of a path, from a network without gates or our autograd function."""
    with frozen_statistics(supernet):
        records = []
        x, lens = zero_padding(*inputs), inputs[1]
        for layer in supernet.layers:
            if not layer.layer.is_choice:
                x, lens = layer(x, lens)
                continue
            results = [o(x, lens) for o in layer.operations]
            outputs = [zero_padding(*result) for result in results]
            lens = results[0][1]
            y = outputs[path[len(records)]]
            if not y.requires_grad:
                y.requires_grad_()
            records.append((y, [o.detach() for o in outputs]))
            x = x + y if layer.skip else y
        sampled = [y for y, _ in records]
        outer = torch.autograd.grad(loss_of(x), sampled, allow_unused=True)
    zero = torch.zeros((), dtype=torch.double)
    return [
        torch.stack([zero if g is None else (g * o).sum() for o in outputs])
        for g, (_, outputs) in zip(outer, records, strict=True)
    ]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", SAMPLED)
def test_gradients_equal_the_closed_form(name, space):
    """For every path; Gumbel noise only changes which logits the form is applied to."""
    supernet = double_network(SPACES[space]).train()
    inputs = batch()
    estimator = build_estimator(name)
    for path in all_paths(SPACES[space]):
        gates = path_gates(estimator, supernet.logits, path)
        gradients = logit_gradients(supernet, gates, inputs)
        for gradient, s, logits, k in zip(
            gradients,
            recorded_scores(supernet, inputs, path),
            supernet.logits,
            path,
            strict=True,
        ):
            expected = closed_form(name, logits.detach(), k, s)
            torch.testing.assert_close(gradient, expected)


def test_gumbel_gradient_goes_through_the_tempered_softmax_of_the_same_noise():
    """d/dalpha of <s, softmax((alpha + noise) / tau)>, for the noise of the arg-max."""
    estimator = build_estimator("gumbel_st", {"temperature": 0.7})
    s = torch.randn(4, dtype=torch.double)
    for seed in range(20):
        logits = LOGITS.clone().requires_grad_()
        gate = estimator.architecture_gate(logits, cpu_generator(seed))
        (gradient,) = torch.autograd.grad(gate.coefficients, logits, s)
        noise = torch.empty(4, dtype=torch.double)
        noise = -noise.exponential_(generator=cpu_generator(seed)).log()
        assert gate.active == (int((LOGITS + noise).argmax()),)
        p = torch.softmax((LOGITS + noise) / 0.7, 0)
        torch.testing.assert_close(gradient, jacobian(p) @ s / 0.7)


def test_gumbel_relaxation_passes_gradcheck_for_fixed_noise():
    noise = torch.randn(4, dtype=torch.double)
    s = torch.randn(4, dtype=torch.double)
    relax = build_estimator("gumbel_st").relaxation

    def soft(alpha):
        # Adding the constant that the straight-through form subtracts.
        value = torch.softmax((alpha.detach() + noise) / 0.7, 0)
        c = relax((alpha + noise) / 0.7, 0)
        return ((c - c.detach() + value) * s).sum()

    alpha = LOGITS.clone().requires_grad_()
    torch.autograd.gradcheck(soft, alpha)


def exact_and_expected(name, supernet, loss):
    """The gradient of E_z[Loss(z)] and the expectation of the estimate, enumerated."""
    inputs = batch((5, 3))
    estimator = build_estimator(name)
    alphas = [p.detach().clone().requires_grad_() for p in supernet.logits]
    objective = torch.zeros((), dtype=torch.double)
    expected = [torch.zeros_like(p) for p in alphas]
    for path in all_paths(supernet.space):
        probability = math.prod(
            torch.softmax(p, 0)[k] for p, k in zip(alphas, path, strict=True)
        )
        gates = path_gates(estimator, supernet.logits, path)
        with supernet.routed(gates), frozen_statistics(supernet):
            value = loss(supernet(*inputs)[0])
            gradients = torch.autograd.grad(value, supernet.logits)
        objective = objective + probability * value.detach()
        for e, g in zip(expected, gradients, strict=True):
            e += probability.detach() * g
    return torch.autograd.grad(objective, alphas), expected


def largest_error(name, supernet, loss):
    """The largest error of the expectation, relative to the exact gradient."""
    exact, expected = exact_and_expected(name, supernet, loss)
    scale = max(x.abs().max() for x in exact)
    assert scale > 1e-3
    return max((e - x).abs().max() for e, x in zip(expected, exact, strict=True)) / (
        scale
    )


LINEAR = torch.linspace(-1, 1, 3 * 5 * 2).double().reshape(2, 5, 3)
LOSSES = {
    "affine": lambda ys: (ys * LINEAR[..., : ys.size(2)]).sum() + 3,
    "quadratic": lambda ys: (ys * LINEAR[..., : ys.size(2)]).sum() ** 2 + ys.sum(),
    "cubic": lambda ys: (ys * LINEAR[..., : ys.size(2)]).sum() ** 3,
}
EXACT = {("st", "affine"), ("reinmax", "affine"), ("reinmax", "quadratic")}
# Three choices: y = x + o(x) with o(x) in {0, x}, so a loss of degree n in y is of
# degree n in each z. And one choice of each kind of operation.
TOYS = {
    "three choices": tiny_space(*[["identity", "zero"]] * 3, residual=True),
    **{
        f"one choice with {op}": tiny_space(["identity", "zero", op], width=3)
        for op in ("tdnn-C1D1", "tdnn-C2D2Nbn", "tdnn-C1D3")
    },
}


@pytest.mark.parametrize("toy", TOYS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["st", "reinmax"])
def test_order_of_accuracy(name, loss, toy):
    """ST is exact for losses affine in each z, ReinMax for quadratic ones, no more."""
    supernet = double_network(TOYS[toy]).train()
    error = largest_error(name, supernet, LOSSES[loss])
    if (name, loss) in EXACT:
        assert error < 1e-12
    else:
        assert error > 1e-3


def test_bias_of_st_for_a_quadratic_loss_is_the_known_one():
    """For Loss = z^T A z / 2: J(pi) (A pi - diag(A) / 2).

    ST's expectation is J(pi) A pi; the exact gradient is that of sum_k A_kk pi_k / 2.
    Here Loss = <w, y>^2, so A_jk = 2 <w, o_j> <w, o_k>.
    """
    supernet = double_network(tiny_space(CANDIDATES, width=3)).eval()
    exact, expected = exact_and_expected(
        "st", supernet, lambda ys: (ys * LINEAR).sum() ** 2
    )
    torch.manual_seed(0)
    supernet_again = double_network(tiny_space(CANDIDATES, width=3)).eval()
    xs, ilens = batch((5, 3))
    (layer,) = supernet_again.choice_blocks
    xs = zero_padding(xs, ilens)
    u = torch.stack(
        [(zero_padding(*o(xs, ilens)) * LINEAR).sum() for o in layer.operations]
    ).detach()
    a = 2 * torch.outer(u, u)
    pi = torch.softmax(layer.logits.detach(), 0)
    bias = jacobian(pi) @ (a @ pi - a.diag() / 2)
    assert bias.abs().max() > 1e-3
    torch.testing.assert_close(expected[0] - exact[0], bias)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("space", ["chain", "residual", "strided"])
@pytest.mark.parametrize("name", SAMPLED)
def test_expected_subgraph_gradient_is_that_of_all_candidates(name, space, size):
    """For every path by itself, with a loss that is far from affine."""
    supernet = double_network(SPACES[space]).train()
    inputs = batch((5, 3))
    estimator = build_estimator(name, {"subgraph_size": size})
    paths = all_paths(SPACES[space])
    for path in paths[:: max(1, len(paths) // 4)]:
        full = logit_gradients(
            supernet, path_gates(build_estimator(name), supernet.logits, path), inputs
        )
        expected = [torch.zeros_like(g) for g in full]
        options = []
        for logits, k in zip(supernet.logits, path, strict=True):
            if size >= len(logits):
                options.append([(1.0, estimator.gate(logits, k))])
                continue
            chances = chances_beside(
                torch.softmax(logits.detach(), 0), k, estimator.subgraph_size
            )
            assert chances[k] == 0
            options.append(
                [
                    (p, estimator.gate(logits, k, others, chances))
                    for others, p in draws_of(chances).items()
                ]
            )
        for combination in itertools.product(*options):
            probability = math.prod(p for p, _ in combination)
            # Any offset will do, if it does not depend on the draw.
            for n, layer in enumerate(supernet.choice_blocks):
                layer.score_offset.copy_(torch.tensor([0.7 - n, 1.0]))
            # A gate's graph serves one backward.
            gradients = torch.autograd.grad(
                _loss(supernet, [g for _, g in combination], inputs),
                supernet.logits,
                retain_graph=True,
            )
            for e, g in zip(expected, gradients, strict=True):
                e += probability * g
        for e, f in zip(expected, full, strict=True):
            torch.testing.assert_close(e, f, rtol=1e-10, atol=1e-12)


def _loss(supernet, gates, inputs):
    with supernet.routed(gates), frozen_statistics(supernet):
        return loss_of(supernet(*inputs)[0])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
    "weights", [[1, 1, 0, 1, 1], [0.7, 0.1, 0.0, 0.15, 0.05], [1, 1e-3, 0, 1e-9, 1]]
)
def test_every_candidate_is_drawn_with_its_chance(weights, count):
    chances = inclusion_chances(torch.tensor(weights, dtype=torch.double), count)
    assert float(chances.sum()) == pytest.approx(count)
    assert chances[2] == 0
    assert (chances <= 1).all()
    assert all(c > 0 for k, c in enumerate(chances) if k != 2)
    found = torch.zeros(5, dtype=torch.double)
    for others, probability in draws_of(chances).items():
        assert len(others) == count
        found[list(others)] += probability
    torch.testing.assert_close(found, chances, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("logits", [[900.0, 0, 1, -900, 3], [0.0, 700, 700, 0, 0]])
def test_certain_choices_have_finite_chances(logits, size):
    estimator = build_estimator("st", {"subgraph_size": size})
    alphas = torch.tensor(logits, requires_grad=True)
    pi = torch.softmax(alphas.detach(), 0)
    for path in range(5):
        chances = chances_beside(pi, path, estimator.subgraph_size)
        assert float(chances.sum()) == pytest.approx(size - 1)
        assert all(1e-4 < c <= 1 for k, c in enumerate(chances) if k != path)
    gate = estimator.architecture_gate(alphas, cpu_generator())
    assert all(math.isfinite(w) for w in gate.inverse_chances)
    (gradient,) = torch.autograd.grad(gate.coefficients, alphas, torch.randn(5))
    assert torch.isfinite(gradient).all()


def test_even_draws_are_without_preference_among_subsets():
    draws = draws_of(inclusion_chances(torch.tensor([1.0, 1, 1, 0, 1]).double(), 2))
    assert len(draws) == 6
    assert all(p == pytest.approx(1 / 6) for p in draws.values())


def test_draws_follow_the_chances():
    """Within 5 standard deviations of 4000 draws."""
    chances = inclusion_chances(torch.tensor([0.6, 0.3, 0.0, 0.1]).double(), 2)
    generator, counts = cpu_generator(), torch.zeros(4)
    for _ in range(4000):
        counts[list(draw_others(chances, generator))] += 1
    deviation = (chances * (1 - chances) / 4000).sqrt()
    assert ((counts / 4000 - chances).abs() <= 5 * deviation).all()


@pytest.mark.parametrize("name", SAMPLED)
def test_subgraphs_score_what_they_say(name):
    estimator = build_estimator(name, {"subgraph_size": 3})
    seen = set()
    for seed in range(300):
        gate = estimator.architecture_gate(LOGITS.clone(), cpu_generator(seed))
        assert len(gate.scored) == 2
        assert not set(gate.scored) & set(gate.active)
        seen |= {(gate.active[0], k) for k in gate.scored}
        small = estimator.architecture_gate(LOGITS[:2], cpu_generator(seed))
        assert len(small.scored) == 1
    assert len(seen) == 4 * 3


@pytest.mark.parametrize("conf", [{}, {"subgraph_size": 2}])
def test_scores_of_a_share_of_the_utterances_are_right_in_expectation(conf):
    """Half of two utterances: the mean over the two draws is the exact score."""
    supernet = double_network(tiny_space("tdnn", CANDIDATES)).eval()
    inputs = batch((6, 3))
    full, half = (
        build_estimator("st", {**conf, "score_share": share}) for share in (1.0, 0.5)
    )
    others, chances = ((1,), torch.full((5,), 0.25)) if conf else (None, None)

    def gradient(estimator, generator=None):
        gate = estimator.gate(
            supernet.logits[0], 2, others, chances, generator=generator
        )
        supernet.choice_blocks[0].score_offset.zero_()
        return logit_gradients(supernet, [gate], inputs)[0]

    drawn = []
    for seed in range(30):
        g = gradient(half, cpu_generator(seed))
        if not any(torch.allclose(g, d) for d in drawn):
            drawn.append(g)
    assert len(drawn) == 2
    torch.testing.assert_close((drawn[0] + drawn[1]) / 2, gradient(full))


def test_offset_is_the_decaying_mean_of_past_differences():
    """And an overflow leaves it alone."""
    gate = Gate((0,), torch.zeros(4), (1, 3), (2.0, 2.0))
    offset = torch.zeros(2)
    differences = [(3.0, 5.0), (1.0, 2.0), (float("inf"), 0.0), (0.0, 8.0)]
    total, weight = 0.0, 0.0
    for pair in differences:
        sampled = torch.tensor(10.0)
        expected = 10.0 + (total / weight if weight else 0.0)
        scores = estimated_scores(gate, sampled, sampled + torch.tensor(pair), offset)
        assert scores[2] == pytest.approx(expected)
        for k, d in zip((1, 3), pair, strict=True):
            assert scores[k] == pytest.approx(expected + 2 * (10.0 + d - expected))
        if math.isfinite(sum(pair)):
            total = 0.95 * total + 0.05 * sum(pair) / 2
            weight = 0.95 * weight + 0.05
        assert offset.tolist() == [pytest.approx(total), pytest.approx(weight)]


def test_offset_makes_estimates_less_noisy():
    """Scores that differ from the sampled one's by a constant are estimated exactly."""
    gate = Gate((0,), torch.zeros(4), (2,), (3.0,))
    offset = torch.zeros(2)
    for step in range(3):
        sampled = torch.tensor(float(step))
        scores = estimated_scores(gate, sampled, sampled.reshape(1) - 7.0, offset)
        exact = torch.full((4,), step - 7.0)
        assert torch.allclose(scores[1:], exact[1:]) == (step > 0)


def test_half_precision_scores_are_close():
    supernet = double_network(tiny_space("tdnn", CANDIDATES, width=32)).float()
    inputs = batch((60, 40), dtype=torch.float)
    gradients = [
        logit_gradients(
            supernet,
            path_gates(build_estimator("st", {"score_dtype": d}), supernet.logits, [2]),
            inputs,
        )[0]
        for d in (None, "bfloat16")
    ]
    assert not torch.equal(*gradients)
    error = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert error < 0.02


@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"subgraph_size": 1}, "subgraph_size is 1; accepted is an integer from 2"),
        ({"subgraph_size": 2.0}, "subgraph_size is 2.0; accepted is an integer"),
        ({"subgraph_size": True}, "subgraph_size is True; accepted"),
        ({"score_dtype": "int8"}, "score_dtype is 'int8'; accepted are: bfloat16"),
        ({"score_share": 0}, "score_share is 0; accepted is a number above 0"),
        ({"score_share": 1.5}, "score_share is 1.5; accepted is a number above 0"),
        ({"score_share": "half"}, "score_share is 'half'; accepted is a number"),
    ],
)
def test_bad_options(name, conf, message):
    with pytest.raises(ConfigError, match=message):
        build_estimator(name, conf)


def test_subgraph_larger_than_every_choice():
    estimator = build_estimator("st", {"subgraph_size": 5})
    estimator.check([2, 5])
    with pytest.raises(ConfigError, match="5, but no choice has more than 4 candid"):
        estimator.check([2, 4])
