"""The operations as candidates of a choice, and in the network that is derived."""

from __future__ import annotations

import pytest
import torch
from espnet2.main_funcs.calculate_all_attentions import calculate_all_attentions

from espnet_stnas.estimators import build_estimator
from espnet_stnas.estimators.base import probabilities
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.network.network import build_network
from espnet_stnas.notation.spec import parse_op
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.supernet.scores import expected_output
from tests.conftest import batch, double_network, tiny_space
from tests.estimators.toys import jacobian, loss_of, path_gates
from tests.ops.examples import all_examples


def keeps_shape(text: str) -> bool:
    """Whether an operation can stand beside identity."""
    spec = parse_op(text, "here")
    same = spec.stride == 1 and spec.output_width(WIDTH, WIDTH) == WIDTH
    return same and text != "identity"


WIDTH = 12
CANDIDATES = [text for text in all_examples() if keeps_shape(text)]
LENGTHS = (9, 1, 6)


@pytest.mark.parametrize("sampled", [0, 1])
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_scores_are_inner_products(candidate, sampled):
    """dLoss/dlogits = J(pi) s with s_k = <dLoss/dy, o_k(x)>, padding left out."""
    space = tiny_space("tdnn-C0", [candidate, "identity"], "tdnn-C1", width=WIDTH)
    supernet = double_network(space).train()
    layer = supernet.choice_blocks[0]
    kept = {}
    layer.register_forward_hook(lambda m, i, o: kept.update(x=i[0], y=o[0]))
    xs, ilens = batch(LENGTHS)
    gates = path_gates(build_estimator("st"), supernet.logits, (sampled,))
    with supernet.routed(gates):
        loss = loss_of(supernet(xs, ilens)[0])
    found, slope = torch.autograd.grad(loss, (supernet.logits[0], kept["y"]))
    slope = zero_padding(slope, ilens)
    scores = [
        (slope * expected_output(operation, kept["x"], ilens)).sum()
        for operation in layer.operations
    ]
    expected = jacobian(probabilities(supernet.logits[0])) @ torch.stack(scores)
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_all_of_them_in_one_choice():
    """Every one is sampled and trained; its weights alone get gradients."""
    space = tiny_space("tdnn-C0", CANDIDATES, "norm", width=WIDTH)
    supernet = double_network(space).train()
    (layer,) = supernet.choice_blocks
    for k, operation in enumerate(layer.operations):
        supernet.zero_grad(set_to_none=True)
        gates = path_gates(build_estimator("st"), supernet.logits, (k,))
        with supernet.routed(gates):
            loss_of(supernet(*batch(LENGTHS))[0]).backward()
        assert torch.isfinite(supernet.logits[0].grad).all()
        for other in layer.operations:
            gradients = [p.grad is not None for p in other.parameters()]
            assert all(gradients) if other is operation else not any(gradients)


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_the_derived_network_is_the_sampled_path(candidate):
    space = tiny_space("tdnn-C0", [candidate, "identity"], "tdnn-C1", width=WIDTH)
    supernet = double_network(space).eval()
    fixed = build_network(space.resolve([0]), 3).double().eval()
    weights = supernet.state_dict()
    fixed.load_state_dict({name: weights[name] for name in fixed.state_dict()})
    xs, ilens = batch((*LENGTHS, 0))
    gates = path_gates(build_estimator("st"), supernet.logits, (0,))
    with torch.no_grad(), supernet.routed(gates):
        ys, olens = supernet(xs, ilens)
    found, lengths = fixed(xs, ilens)
    assert torch.equal(lengths, olens)
    torch.testing.assert_close(found, ys)


def test_espnet_plots_their_attention():
    """It takes the weights from hooks, before they are dropped."""
    layers = ["tdnn-C0", "conformer-H2K3", "transformer-H2", "ebranchformer-H2K3"]
    encoder = STNASEncoder(3, layers=layers, width=4, dropout_rate=0.0)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, speech, speech_lengths):
            return self.encoder(speech, speech_lengths)

        collect_feats = forward

    weights = calculate_all_attentions(
        Model().eval(),
        {"speech": torch.randn(2, 7, 3), "speech_lengths": torch.tensor([7, 5])},
    )
    assert len(weights) == 3
    for found in weights.values():
        assert [tuple(w.shape) for w in found] == [(2, 7, 7), (2, 5, 5)]
        torch.testing.assert_close(found[1].sum(dim=2), torch.ones(2, 5))
