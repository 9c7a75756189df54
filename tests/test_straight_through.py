"""Proofs about the straight-through gradient, in float64, without sampling."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from espnet_stnas.estimators import build_estimator
from espnet_stnas.estimators.base import Gate, probabilities
from espnet_stnas.lengths import zero_padding
from espnet_stnas.network import build_network
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.scoring import inner_product
from tests.conftest import all_paths, batch, double_network, tiny_space

CANDIDATES = ["tdnn-C1D1", "tdnn-C1D2Nbn", "identity", "zero", "tdnn-C2D2"]
SPACES = {
    "chain": tiny_space("tdnn-C1", CANDIDATES, "tdnn-S2", CANDIDATES[:2], "tdnn-C0"),
    "residual": tiny_space("tdnn-C1", CANDIDATES, CANDIDATES[1:], residual=True),
    "adjacent": tiny_space(
        ["tdnn-C1", "tdnn-C2"], CANDIDATES[:3], ["tdnn", "identity"]
    ),
}


def straight_through_gates(supernet, path):
    """The gates of the `st` estimator for the seeds at which it draws this path."""
    gates = []
    for logits, index in zip(supernet.logits, path, strict=True):
        drawn = (
            build_estimator("st").architecture_gate(
                logits, torch.Generator().manual_seed(seed)
            )
            for seed in itertools.count()
        )
        gates.append(next(gate for gate in drawn if gate.active == (index,)))
    return gates


def loss_of(ys: torch.Tensor) -> torch.Tensor:
    """Some smooth loss that is far from affine and does not ignore frames."""
    weights = torch.arange(1, 1 + ys[0].numel(), dtype=ys.dtype).reshape(ys[0].shape)
    return (torch.tanh(ys) * weights.cos()).sum() + 0.1 * ys.square().sum()


@pytest.mark.parametrize("name", SPACES)
def test_logit_gradients_equal_the_closed_form(name):
    """dLoss/dalpha_k = pi_k (s_k - sum_j pi_j s_j), s_k = <dLoss/dy, o_k(x)>.

    For every path. The closed form is computed from a network without our autograd
    function: each choice runs its sampled candidate, x and dLoss/dy are recorded.
    """
    space = SPACES[name]
    supernet = double_network(space).train()
    xs, ilens = batch()
    for path in all_paths(space):
        with supernet.routed(straight_through_gates(supernet, path)):
            with frozen_statistics(supernet):
                loss = loss_of(supernet(xs, ilens)[0])
                gradients = torch.autograd.grad(loss, supernet.logits)

        with frozen_statistics(supernet):
            records = []
            x, lens = zero_padding(xs, ilens), ilens
            for layer in supernet.layers:
                if not layer.layer.is_choice:
                    x, lens = layer(x, lens)
                    continue
                outputs = [zero_padding(o(x, lens)[0], lens) for o in layer.operations]
                y = outputs[path[len(records)]]
                if not y.requires_grad:
                    y.requires_grad_()
                records.append((y, [o.detach() for o in outputs], layer.logits))
                x = x + y if layer.skip else y
            sampled = [y for y, _, _ in records]
            outer = torch.autograd.grad(loss_of(x), sampled, allow_unused=True)
        for gradient, g, (_, outputs, logits) in zip(
            gradients, outer, records, strict=True
        ):
            g = torch.zeros_like(outputs[0]) if g is None else g
            s = torch.stack([(g * o).sum() for o in outputs])
            pi = torch.softmax(logits.detach(), 0)
            torch.testing.assert_close(gradient, pi * (s - (pi * s).sum()))


@pytest.mark.parametrize("name", SPACES)
def test_weights_and_input_get_the_single_paths_gradients(name):
    """Also in an architecture step, and bit for bit; other weights get none."""
    space = SPACES[name]
    supernet = double_network(space).train()
    for path in all_paths(space):
        fixed = build_network(space.resolve(path), 3).double().train()
        state = supernet.state_dict()
        fixed.load_state_dict({k: state[k] for k in fixed.state_dict()})
        xs, ilens = batch()
        gradients = {}
        for key, network, gates in (
            ("architecture", supernet, straight_through_gates(supernet, path)),
            ("weights", supernet, [Gate((k,)) for k in path]),
            ("fixed", fixed, None),
        ):
            network.zero_grad()
            x = xs.clone().requires_grad_()
            with frozen_statistics(network):
                if gates is None:
                    ys, _ = network(x, ilens)
                else:
                    with network.routed(gates):
                        ys, _ = network(x, ilens)
            loss_of(ys).backward()
            gradients[key] = {
                n: p.grad
                for n, p in network.named_parameters()
                if p.grad is not None and "logits" not in n
            }
            gradients[key]["x"] = x.grad
        for key in ("architecture", "weights"):
            assert gradients[key].keys() == gradients["fixed"].keys()
            for name_, gradient in gradients["fixed"].items():
                if gradient is None:
                    assert gradients[key][name_] is None
                else:
                    torch.testing.assert_close(
                        gradients[key][name_], gradient, rtol=0, atol=0
                    )


def exact_and_expected(supernet, loss_function):
    """The exact gradient of E_z[Loss(z)], and the expectation of the ST gradient.

    Both by enumeration of all architectures.
    """
    xs, ilens = batch((5, 3))
    logits = [p.detach().clone().requires_grad_() for p in supernet.logits]
    objective = torch.zeros((), dtype=torch.double)
    expected = [torch.zeros_like(p) for p in logits]
    for path in all_paths(supernet.space):
        probability = math.prod(
            torch.softmax(p, 0)[k] for p, k in zip(logits, path, strict=True)
        )
        with supernet.routed(straight_through_gates(supernet, path)):
            loss = loss_function(supernet(xs, ilens)[0])
            gradients = torch.autograd.grad(loss, supernet.logits)
        objective = objective + probability * loss.detach()
        for e, g in zip(expected, gradients, strict=True):
            e += probability.detach() * g
    return torch.autograd.grad(objective, logits), expected


def test_st_is_exact_when_the_loss_is_affine_in_each_choice():
    """Parallel choices are affine in each z; a chain of linear layers is so, too.

    `tdnn-C0` has a ReLU, so the linear chain is made of identity and zero around
    skips: y = x + o(x) with o(x) in {0, x}, and a loss linear in y.
    """
    space = tiny_space(*[["identity", "zero"]] * 3, residual=True)
    supernet = double_network(space).train()
    weights = torch.randn(2, 5, 3, dtype=torch.double)
    exact, expected = exact_and_expected(supernet, lambda ys: (ys * weights).sum())
    for e, x in zip(expected, exact, strict=True):
        assert x.abs().max() > 1e-3
        torch.testing.assert_close(e, x, rtol=1e-12, atol=1e-14)


def test_st_is_exact_for_one_choice_of_any_operations_and_an_affine_loss():
    supernet = double_network(tiny_space("tdnn-C1", CANDIDATES)).eval()
    weights = torch.randn(2, 5, 4, dtype=torch.double)
    exact, expected = exact_and_expected(supernet, lambda ys: (ys * weights).sum() + 3)
    torch.testing.assert_close(expected[0], exact[0], rtol=1e-12, atol=1e-14)


def test_st_is_biased_when_the_loss_is_not_affine():
    """Its known limit: for f(y) = y^2, the ST gradient is not the exact one."""
    supernet = double_network(tiny_space("tdnn-C1", CANDIDATES)).eval()
    exact, expected = exact_and_expected(supernet, lambda ys: ys.square().sum())
    assert (expected[0] - exact[0]).abs().max() > 1e-3 * exact[0].abs().max()


def test_activations_of_unsampled_candidates_are_not_kept():
    """Saved bytes do not depend on the number of candidates."""

    def saved_bytes(candidates):
        supernet = double_network(tiny_space("tdnn-C0", candidates, "tdnn-C0")).train()
        gates = straight_through_gates(supernet, (0,))
        storages = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        known = {p.untyped_storage().data_ptr() for p in supernet.parameters()}
        xs, ilens = batch((50, 40))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            with supernet.routed(gates):
                loss = supernet(xs, ilens)[0].sum()
        del loss
        return sum(n for pointer, n in storages.items() if pointer not in known)

    two = saved_bytes(["tdnn-C1D1", "tdnn-C2D1"])
    eight = saved_bytes([f"tdnn-C{c}D{d}" for c in (1, 2) for d in (1, 2, 3, 4)])
    assert eight - two < 8 * 8 * 8  # vectors of K numbers, not frames


def test_weight_steps_make_no_score():
    supernet = double_network(SPACES["chain"]).train()
    ran = []
    for layer in supernet.choice_layers:
        for operation in layer.operations:
            operation.register_forward_hook(lambda m, *_: ran.append(m))
    xs, ilens = batch()
    gates = supernet.weight_gates(build_estimator("st"), torch.Generator())
    with supernet.routed(gates):
        supernet(xs, ilens)[0].sum().backward()
    assert len(ran) == len(supernet.choice_layers)
    assert all(p.grad is None for p in supernet.logits)


def test_architecture_steps_leave_batch_statistics_alone():
    supernet = double_network(tiny_space("tdnn-Nbn", ["tdnn-Nbn", "zero"])).train()
    before = {k: v.clone() for k, v in supernet.state_dict().items()}
    xs, ilens = batch()
    with frozen_statistics(supernet), supernet.routed([Gate((0,))]):
        supernet(xs, ilens)
    assert all(torch.equal(v, before[k]) for k, v in supernet.state_dict().items())
    with supernet.routed([Gate((0,))]):
        supernet(xs, ilens)
    changed = {k for k, v in supernet.state_dict().items() if (v != before[k]).any()}
    assert len(changed) == 6
    assert all("running" in k or "num_batches" in k for k in changed)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_scores_agree_with_float32(dtype):
    """Scores in the backward use the precision of the forward, summed in float32."""
    supernet = build_network(SPACES["chain"], 3)
    xs, ilens = batch(dtype=torch.float32)
    gradients = []
    for enabled in (False, True):
        gates = straight_through_gates(supernet, (0, 0))
        with torch.autocast("cpu", dtype, enabled=enabled), supernet.routed(gates):
            ys = supernet(xs, ilens)[0]
        gradients.append(torch.autograd.grad(loss_of(ys.float()), supernet.logits))
    scale = max(g.abs().max() for g in gradients[0])
    for full, half in zip(*gradients, strict=True):
        assert half.dtype == torch.float32
        assert not torch.equal(full, half)
        assert (full - half).abs().max() < 0.05 * scale


def test_inner_product_does_not_overflow_half_precision():
    one = torch.full((100, 100), 60.0, dtype=torch.float16)
    assert inner_product(one, one) == 60.0 * 60.0 * 1e4


def test_probabilities_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert probabilities(torch.zeros(3)).dtype == torch.float32
    assert probabilities(torch.zeros(3).double()).dtype == torch.float64
