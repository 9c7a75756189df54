from __future__ import annotations

import pytest
import torch

from espnet_stnas.estimators import ESTIMATORS, Gate, build_estimator
from espnet_stnas.spec import ConfigError
from tests.conftest import batch, double_network, tiny_space

LOGITS = torch.tensor([0.5, -1.0, 0.0, 1.2], dtype=torch.double)


def frequencies(name: str, method: str, draws: int = 4000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    estimator = build_estimator(name)
    counts = torch.zeros(4)
    for _ in range(draws):
        counts[getattr(estimator, method)(LOGITS, generator).active[0]] += 1
    return counts / draws


@pytest.mark.parametrize("method", ["architecture_gate", "weight_gate"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_paths_follow_their_distribution(name, method):
    """Within 5 standard deviations of 4000 draws."""
    pi = torch.softmax(LOGITS, 0) if name == "st" else torch.full((4,), 0.25)
    error = (frequencies(name, method) - pi).abs()
    assert (error < 5 * (pi * (1 - pi) / 4000).sqrt()).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_draws_repeat_with_the_generator(name):
    for method in ("architecture_gate", "weight_gate"):
        one, two = (
            [
                getattr(build_estimator(name), method)(LOGITS, generator).active
                for generator in [torch.Generator().manual_seed(3)]
                for _ in range(20)
            ]
            for _ in range(2)
        )
        assert one == two


def test_straight_through_gate():
    logits = LOGITS.clone().requires_grad_()
    gate = build_estimator("st").architecture_gate(
        logits, torch.Generator().manual_seed(0)
    )
    assert set(gate.active) | set(gate.scored) == {0, 1, 2, 3}
    one_hot = torch.zeros(4).double()
    one_hot[gate.active[0]] = 1.0
    torch.testing.assert_close(gate.coefficients.detach(), one_hot)
    s = torch.randn(4).double()
    (gradient,) = torch.autograd.grad(gate.coefficients, logits, s)
    pi = torch.softmax(LOGITS, 0)
    torch.testing.assert_close(gradient, pi * (s - (pi * s).sum()))


def test_gates_without_coefficients_give_logits_no_gradient():
    for gate in (
        build_estimator("st").weight_gate(LOGITS, torch.Generator()),
        build_estimator("uniform").architecture_gate(LOGITS, torch.Generator()),
    ):
        assert gate.coefficients is None
        assert gate.scored == ()


def test_mixtures_are_a_matter_of_the_gate_alone():
    """Estimators to come (DARTS, SNAS) fit the same choice layer: autograd agrees."""
    supernet = double_network(
        tiny_space("tdnn", ["tdnn-C1D1", "zero", "tdnn-C2D2"], residual=True)
    )
    (logits,) = supernet.logits
    xs, ilens = batch()

    def forward(alpha):
        gate = Gate((0, 1, 2), torch.softmax(alpha, 0))
        with supernet.routed([gate]):
            return supernet(xs, ilens)[0].square().sum()

    assert torch.autograd.gradcheck(forward, (logits.detach().requires_grad_(),))


def test_mixture_without_coefficients_is_refused():
    supernet = double_network(tiny_space(["tdnn-C1", "tdnn-C2"]))
    with (
        supernet.routed([Gate((0, 1))]),
        pytest.raises(ValueError, match="needs coeff"),
    ):
        supernet(*batch())


def test_number_of_gates():
    supernet = double_network(tiny_space(["tdnn-C1", "tdnn-C2"]))
    with pytest.raises(ValueError, match="2 gates for 1 choices"):
        with supernet.routed([Gate((0,))] * 2):
            pass


def test_routes_end_also_after_an_error():
    supernet = double_network(tiny_space(["tdnn-C1", "tdnn-C2"])).eval()
    before = supernet(*batch())[1]
    with pytest.raises(KeyError), supernet.routed([Gate((1,))]):
        raise KeyError
    assert supernet._gates is None
    assert torch.equal(supernet(*batch())[1], before)


@pytest.mark.parametrize(
    ("name", "conf", "message"),
    [
        ("darts9", {}, "estimator is 'darts9'; accepted are: st, uniform"),
        ("st", {"tau": 1.0}, "estimator 'st' has no option 'tau'; accepted are: none"),
    ],
)
def test_unknown_names_and_options(name, conf, message):
    with pytest.raises(ConfigError, match=message):
        build_estimator(name, conf)
