"""What a choice block and its supernet keep, run and leave alone.

That gradients are right is proved in tests/estimators.
"""

from __future__ import annotations

import pytest
import torch

from espnet_stnas.estimators import build_estimator
from espnet_stnas.estimators.base import Gate, probabilities
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.supernet.scores import expected_output, inner_product, joined
from espnet_stnas.supernet.supernet import frozen_weights
from tests.conftest import batch, double_network, tiny_space
from tests.estimators.toys import SPACES, cpu_generator, path_gates


def test_activations_of_unsampled_candidates_are_not_kept():
    """Saved bytes do not depend on the number of candidates."""

    def saved_bytes(candidates):
        supernet = double_network(tiny_space("tdnn-C0", candidates, "tdnn-C0")).train()
        gates = path_gates(build_estimator("st"), supernet.logits, (0,))
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
    for layer in supernet.choice_blocks:
        for operation in layer.operations:
            operation.register_forward_hook(lambda m, *_: ran.append(m))
    xs, ilens = batch()
    gates = supernet.weight_gates(build_estimator("st"), torch.Generator())
    with supernet.routed(gates):
        supernet(xs, ilens)[0].sum().backward()
    assert len(ran) == len(supernet.choice_blocks)
    assert all(p.grad is None for p in supernet.logits)


def test_frozen_weights_get_no_graph_and_no_gradient():
    """The logits' gradient is the same; less is kept; all is as before afterwards."""
    supernet = double_network(SPACES["chain"]).train()
    supernet.layers[0].requires_grad_(False)
    inputs = batch()
    found = []
    for freeze in (False, True):
        gates = path_gates(build_estimator("st"), supernet.logits, (0, 1))
        learning = supernet.logits if freeze else tuple(supernet.parameters())
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, saved=saved: saved.append(t.numel()) or t, lambda t: t
        ):
            with supernet.routed(gates), frozen_weights(supernet, learning):
                loss = supernet(*inputs)[0].sum()
        found.append((torch.autograd.grad(loss, supernet.logits), sum(saved)))
    for one, other in zip(found[0][0], found[1][0], strict=True):
        assert torch.equal(one, other)
    assert found[1][1] < found[0][1]
    frozen = {n for n, p in supernet.named_parameters() if not p.requires_grad}
    assert frozen == {n for n, _ in supernet.named_parameters() if "layers.0." in n}


def test_frozen_weights_are_freed_after_an_error():
    supernet = double_network(SPACES["chain"])
    with pytest.raises(KeyboardInterrupt), frozen_weights(supernet, ()):
        assert not any(p.requires_grad for p in supernet.parameters())
        raise KeyboardInterrupt
    assert all(p.requires_grad for p in supernet.parameters())


def test_scores_change_no_batch_statistics():
    """Also in a joint step, where those of the sampled path do change."""
    space = tiny_space("tdnn", ["tdnn-C0Nbn", "tdnn-C1Nbn", "tdnn-C2Nbn"])
    supernet = double_network(space).train()
    before = {k: v.clone() for k, v in supernet.state_dict().items()}
    gates = path_gates(build_estimator("st"), supernet.logits, (1,))
    with supernet.routed(gates):
        supernet(*batch())[0].sum().backward()
    changed = {k for k, v in supernet.state_dict().items() if (v != before[k]).any()}
    assert changed
    assert all("tdnn-C1D1Nbn.norm." in k for k in changed)


def test_gates_of_a_supernet_come_from_one_copy_of_its_logits():
    """Given logits of one's own, the gradient goes there."""
    supernet = double_network(SPACES["adjacent"]).train()
    copies = [p.detach().clone().requires_grad_() for p in supernet.logits]
    gates = supernet.architecture_gates(build_estimator("st"), cpu_generator(), copies)
    with supernet.routed(gates):
        supernet(*batch())[0].square().sum().backward()
    assert all(p.grad is None for p in supernet.logits)
    assert all(c.grad.abs().sum() > 0 for c in copies)


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


def test_inner_product_does_not_overflow_half_precision():
    one = torch.full((100, 100), 60.0, dtype=torch.float16)
    assert inner_product(one, one) == 60.0 * 60.0 * 1e4


def test_probabilities_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert probabilities(torch.zeros(3)).dtype == torch.float32
    assert probabilities(torch.zeros(3).double()).dtype == torch.float64


@pytest.mark.parametrize(
    "candidates", (["tdnn-C1D2", "identity", "tdnn-C2"], ["tdnn-C1", "tdnn-C2Nbn"])
)
def test_frame_local_candidates_are_scored_without_padding(candidates):
    """Scores are <dLoss/dy, o_k(x)>; what needs the whole batch gets it padded."""
    supernet = double_network(tiny_space("tdnn-C0", candidates, "tdnn-C1")).train()
    layer = supernet.choice_blocks[0]
    local = all(operation.frame_local for operation in layer.operations)
    seen, outputs = [], {}
    for k, operation in enumerate(layer.operations):
        operation.register_forward_hook(
            lambda m, inputs, _, k=k: seen.append((k, inputs[0]))
        )
    xs, ilens = batch((9, 30, 14))
    coefficients = torch.tensor(
        [1.0] + [0.0] * (len(candidates) - 1), dtype=xs.dtype, requires_grad=True
    )
    gate = Gate((0,), coefficients, scored=tuple(range(1, len(candidates))))
    layer.register_forward_hook(lambda m, i, o: outputs.update(x=i[0], y=o[0]))
    with supernet.routed([gate]):
        loss = supernet(xs, ilens)[0].square().sum()
    gradient, found = torch.autograd.grad(loss, (outputs["y"], coefficients))
    frames = [x.size(0) * x.size(1) for _, x in seen]
    assert frames[0] == 3 * 30
    longest = 9 + 30 + 14 + 2 * 2 if local else 3 * 30
    assert frames[1:] == [longest] * (len(candidates) - 1)
    gradient = zero_padding(gradient, ilens)
    for k, operation in enumerate(layer.operations):
        expected = (gradient * expected_output(operation, outputs["x"], ilens)).sum()
        torch.testing.assert_close(found[k], expected, rtol=1e-12, atol=1e-12)


def test_joined_utterances():
    xs = torch.arange(1.0, 9.0).reshape(2, 4, 1)
    found = joined(xs, [2, 4], 1)
    assert found.flatten().tolist() == [1, 2, 0, 5, 6, 7, 8]
