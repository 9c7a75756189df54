"""What holds for every estimator of the table."""

from __future__ import annotations

import math

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import ESTIMATORS, build_estimator, option_names
from espnet_stnas.estimators.base import Estimator
from espnet_stnas.network.network import build_network
from espnet_stnas.ops.norm import frozen_statistics
from tests.conftest import all_paths, batch, double_network, tiny_space
from tests.estimators.toys import SPACES, cpu_generator, gates_of, loss_of

LOGITS = torch.tensor([0.5, -1.0, 0.0, 1.2], dtype=torch.double)
MIXTURES = ["darts", "snas"]
PATHS = [name for name in ESTIMATORS if name not in MIXTURES]
SUBGRAPHS = [
    {"subgraph_size": 2},
    {"score_share": 0.5},
]
VARIANTS = [(name, {}) for name in PATHS] + [
    (name, conf) for name in ("st", "reinmax", "gumbel_st") for conf in SUBGRAPHS
]


def frequencies(name: str, method: str, draws: int = 4000) -> torch.Tensor:
    generator = cpu_generator()
    estimator = build_estimator(name)
    counts = torch.zeros(4)
    for _ in range(draws):
        counts[getattr(estimator, method)(LOGITS, generator).active[0]] += 1
    return counts / draws


@pytest.mark.parametrize("method", ["architecture_gate", "weight_gate"])
@pytest.mark.parametrize("name", PATHS)
def test_paths_follow_their_distribution(name, method):
    """Within 5 standard deviations of 4000 draws; pairs have a test of their own."""
    if (name, method) == ("proxyless", "architecture_gate"):
        pytest.skip("see test_proxyless")
    pi = torch.softmax(LOGITS, 0)
    if name == "uniform":
        pi = torch.full((4,), 0.25)
    error = (frequencies(name, method) - pi).abs()
    assert (error < 5 * (pi * (1 - pi) / 4000).sqrt()).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_draws_repeat_with_the_generator(name):
    for method in ("architecture_gate", "weight_gate"):
        one, two = (
            [
                getattr(build_estimator(name), method)(LOGITS, generator)
                for generator in [cpu_generator(3)]
                for _ in range(20)
            ]
            for _ in range(2)
        )
        for a, b in zip(one, two, strict=True):
            assert (a.active, a.scored) == (b.active, b.scored)
            if a.coefficients is not None:
                assert torch.equal(a.coefficients, b.coefficients)


@pytest.mark.parametrize(("name", "conf"), VARIANTS)
def test_coefficients_of_a_path_are_one_hot_and_always_sum_to_one(name, conf):
    logits = LOGITS.clone().requires_grad_()
    gate = build_estimator(name, conf).architecture_gate(logits, cpu_generator())
    if name == "uniform":
        assert gate.coefficients is None
        assert gate.touched == frozenset()
        return
    one_hot = torch.zeros(4).double()
    one_hot[gate.active[0]] = 1.0
    torch.testing.assert_close(gate.coefficients.detach(), one_hot)
    (gradient,) = torch.autograd.grad(gate.coefficients.sum(), logits)
    torch.testing.assert_close(gradient, torch.zeros(4).double())


@pytest.mark.parametrize("step", ["architecture", "weight"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("name", "conf"), VARIANTS)
def test_weights_and_input_get_the_gradients_of_the_single_path(
    name, conf, space, step
):
    """Bit for bit those of the fixed network; weights of other paths get none."""
    supernet = double_network(SPACES[space]).train()
    xs, ilens = batch()
    paths = all_paths(SPACES[space])
    for path in paths[:: max(1, len(paths) // 3)]:
        fixed = build_network(SPACES[space].resolve(path), 3).double().train()
        state = supernet.state_dict()
        fixed.load_state_dict({k: state[k] for k in fixed.state_dict()})
        found = []
        for network in (supernet, fixed):
            network.zero_grad()
            x = xs.clone().requires_grad_()
            with frozen_statistics(network):
                if network is supernet:
                    gates = gates_of(name, supernet, path, conf)
                    if step == "weight":
                        gates = [type(g)(g.active) for g in gates]
                    with supernet.routed(gates):
                        loss = loss_of(network(x, ilens)[0])
                else:
                    loss = loss_of(network(x, ilens)[0])
            loss.backward()
            gradients = {
                n: p.grad
                for n, p in network.named_parameters()
                if p.grad is not None and "logits" not in n
            }
            found.append({**gradients, "x": x.grad})
        assert found[0].keys() == found[1].keys()
        for key, gradient in found[1].items():
            if gradient is None:
                assert found[0][key] is None
            else:
                assert torch.equal(found[0][key], gradient), key


@pytest.mark.parametrize("name", ESTIMATORS)
def test_weight_gates_give_logits_no_gradient(name):
    supernet = double_network(SPACES["adjacent"]).train()
    gates = supernet.weight_gates(build_estimator(name), cpu_generator())
    ran = []
    for layer in supernet.choice_blocks:
        for operation in layer.operations:
            operation.register_forward_hook(lambda m, *_: ran.append(m))
    with supernet.routed(gates):
        supernet(*batch())[0].sum().backward()
    assert all(p.grad is None for p in supernet.logits)
    assert all(gate.scored == () for gate in gates)
    # No score is computed: a candidate runs once if it is active, else never.
    assert len(ran) == sum(len(gate.active) for gate in gates)


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if n != "uniform"])
def test_autocast_gradients_agree_with_float32(name):
    """Logits lose about what weights lose in the same pass; float32 stays inside.

    Errors are relative and pooled over paths: what autocast does to the weights'
    gradients is the measure of what the format can do on this network.
    """
    choice = ["tdnn-C1", "tdnn-C2D2Nbn", "identity"]
    space = tiny_space("tdnn", choice, "tdnn-S2", choice, "tdnn", width=32)
    supernet = double_network(space).float().train()
    xs, ilens = batch((40, 30), dtype=torch.float32)

    def gradients(path, dtype):
        gates = gates_of(name, supernet, path)
        assert all(g.coefficients.dtype == torch.float32 for g in gates)
        enabled = dtype != torch.float32
        with torch.autocast("cpu", dtype, enabled=enabled), supernet.routed(gates):
            with frozen_statistics(supernet):
                ys = supernet(xs, ilens)[0]
        loss_of(ys.float()).backward()
        named = dict(supernet.named_parameters())
        logits = torch.cat([p.grad for n, p in named.items() if "logits" in n])
        weights = [p.grad for n, p in named.items() if "logits" not in n]
        supernet.zero_grad()
        assert logits.dtype == torch.float32
        return logits, torch.cat([w.flatten() for w in weights if w is not None])

    error = {}
    for dtype in (torch.bfloat16, torch.float16):
        pairs = [
            (gradients(path, torch.float32), gradients(path, dtype))
            for path in all_paths(space)
        ]
        error[dtype] = [
            math.sqrt(
                sum((h[i] - f[i]).square().sum() for f, h in pairs)
                / sum(f[i].square().sum() for f, _ in pairs)
            )
            for i in (0, 1)
        ]
        logits, weights = error[dtype]
        assert 0 < logits < 3 * weights
    # Three more bits of mantissa; kinks of ReLUs keep it from being a factor of 8.
    assert error[torch.float16][0] < 0.7 * error[torch.bfloat16][0]
    assert error[torch.float16][0] < 0.1


@pytest.mark.parametrize("name", ESTIMATORS)
def test_unknown_options_are_refused_by_name(name):
    with pytest.raises(
        ConfigError, match=f"estimator '{name}' has no option 'tau'; accepted are: "
    ):
        build_estimator(name, {"tau": 1})


@pytest.mark.parametrize(
    ("name", "conf"),
    [
        ("st", {"temperature": 1.0}),
        ("reinmax", {"order": 2}),
        ("proxyless", {"subgraph_size": 2}),
        ("darts", {"temperature": 1.0}),
        ("snas", {"score_share": 0.5}),
        ("uniform", {"subgraph_size": 2}),
    ],
)
def test_options_of_other_estimators_are_refused(name, conf):
    with pytest.raises(
        ConfigError, match=f"'{name}' has no option '{next(iter(conf))}'"
    ):
        build_estimator(name, conf)


def test_option_names_include_inherited_ones():
    assert option_names(type(build_estimator("gumbel_st"))) == [
        "temperature",
        "subgraph_size",
        "score_dtype",
        "score_share",
    ]
    assert option_names(type(build_estimator("uniform"))) == []


def test_unknown_estimator():
    with pytest.raises(
        ConfigError, match="estimator is 'enas'; accepted are: st, reinmax, gumbel_st"
    ):
        build_estimator("enas")


def test_an_estimator_of_ones_own_needs_its_file_and_a_table_entry(monkeypatch):
    """All it must define is the gate of an architecture step."""

    class Greedy(Estimator):
        def architecture_gate(self, logits, generator):
            return self.weight_gate(logits, generator)

    monkeypatch.setattr("espnet_stnas.estimators.st.Greedy", Greedy, raising=False)
    monkeypatch.setitem(ESTIMATORS, "greedy", "espnet_stnas.estimators.st:Greedy")
    assert isinstance(build_estimator("greedy"), Greedy)
