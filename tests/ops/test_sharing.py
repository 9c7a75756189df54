"""Candidates of one choice that share their weights."""

from __future__ import annotations

import copy

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import Gate, build_estimator
from espnet_stnas.notation.families import FAMILIES
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.spec import parse_op
from espnet_stnas.ops import build_operation
from espnet_stnas.ops.borrowing import take_slice
from espnet_stnas.ops.sharing import own_state, share_weights
from espnet_stnas.ops.tdnn import TDNN
from espnet_stnas.supernet.supernet import build_supernet
from tests.conftest import double_network, tiny_space

# Of each family that shares weights, candidates that differ in each shared option.
GROUPS = {
    "tdnn": ["tdnn-C1D1", "tdnn-C2D3", "tdnn-C0D1", "tdnn-C4R0D1", "tdnn-C1R3D1"],
    "aligned": ["tdnn-C2R0D1", "tdnn-C1D1", "tdnn-C0R2D1"],
    "tdnnf": ["tdnnf-C1D1B2", "tdnnf-C2D2B3", "tdnnf-C3R0D1B2"],
    "sepconv": ["sepconv-C1D1", "sepconv-C2D2", "sepconv-C3R1D1"],
    "transformer": ["transformer-H2F6", "transformer-H4F3C2", "transformer-H2F6C3L1"],
    "conformer": ["conformer-H2K3F6", "conformer-H4K5F9C4", "conformer-H2K7R0F6"],
    "ebranchformer": [
        *("ebranchformer-H2K3G6F6", "ebranchformer-H4K5G10F4J5"),
        "ebranchformer-H4K7R1G10F4J5C2L1",
    ],
    "gtdnn": ["gtdnn-C1D1G2", "gtdnn-C2D3G2"],
    "multiconvformer": [
        "multiconvformer-H2K5Q2G4F6",
        "multiconvformer-H4K7Q2G4F9J5",
    ],
    "ff": ["ff-F3", "ff-F8"],
    "chain": ["tdnn-C1D1W3+tdnn-C2D1", "tdnn-C2D1W6+tdnn-C1D2"],
    "strides": ["tdnn-C1S2D1", "tdnn-C2S2D2"],
}
WIDTH = 8


def test_every_family_with_shared_options_is_tested():
    assert {f.name for f in FAMILIES.values() if f.shared_options} <= set(GROUPS)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([9, 5])
    xs = torch.randn(2, 9, WIDTH, dtype=torch.double)
    xs[1, 5:] = 0.0
    return xs, lengths


@pytest.mark.parametrize("texts", GROUPS.values(), ids=GROUPS)
def test_a_candidate_computes_what_it_does_with_its_slices(texts):
    """Also in a copy; its kernels and matrices come from the shared ones."""
    specs = [parse_op(text, "layers[1]") for text in texts]
    sharing, alone = (
        [build_operation(s, WIDTH, WIDTH, 0.0).double() for s in specs] for _ in "12"
    )
    shared = share_weights(sharing).double()
    assert len(shared) == 1
    sharing, shared = copy.deepcopy((sharing, shared))
    xs, ilens = inputs()
    for one, other in zip(sharing, alone, strict=True):
        own = dict(one.named_parameters())
        assert all(p.dim() == 1 for p in own.values())
        other.load_state_dict(own_state(one))
        one.eval(), other.eval()
        ys, olens = other(xs, ilens)
        found, _ = one(xs, ilens)
        assert torch.equal(found, ys)
        found.sum().backward()
        ys.sum().backward()
        found = {name: p.grad for name, p in shared[0].named_parameters()}
        gradients = one.borrowing.slices(found)
        # The gradient of a slice is the gradient of the shared weight there.
        for name, weight in other.named_parameters():
            if name in own:
                torch.testing.assert_close(own[name].grad, weight.grad)
                continue
            whole = shared[0].get_parameter(name)
            part = gradients[name]
            torch.testing.assert_close(part, weight.grad)
            assert whole.grad.abs().sum() == pytest.approx(
                float(weight.grad.abs().sum())
            )
            whole.grad = None


def test_slices_are_the_first_rows_of_each_part_and_the_middle_of_kernels():
    gated = torch.arange(8.0).view(8, 1)
    found = take_slice(gated, torch.Size((4, 1)), parts=2)
    assert found.flatten().tolist() == [0, 1, 4, 5]
    kernel = torch.arange(2 * 2 * 5.0).view(2, 2, 5)
    size = torch.Size((1, 2, 1))
    assert take_slice(kernel, size, first=2).flatten().tolist() == [2, 7]
    heads = torch.arange(8.0).view(2, 4)
    assert take_slice(heads, torch.Size((4, 2))).flatten().tolist() == list(range(8))


def test_what_cannot_share_keeps_its_own_weights():
    """Other families, other norms, and recurrent layers, also in chains."""
    texts = ["tdnn-C1D1", "tdnn-C1D1Nbn", "ff-F4", "lstm-U2", "lstm-U3", "identity"]
    texts += ["lstm-U2+tdnn-C1D1", "lstm-U2+tdnn-C1D2"]
    built = [
        build_operation(parse_op(t, "layers[1]"), WIDTH, WIDTH, 0.0) for t in texts
    ]
    assert len(share_weights(built)) == 0
    assert all(operation.borrowing is None for operation in built)
    xs, ilens = inputs()
    for operation in built:
        operation(xs.float(), ilens)


CANDIDATES = ["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1", "tdnn-C0D1", "tdnn-C3D4"]
CANDIDATES += ["tdnn-C4R0D1", "tdnn-C2R0D2", "tdnn-C1R5D1"]
STRIDED = ["tdnn-C1S2D3", "tdnn-C2S2D1", "tdnn-C0S2D1", "tdnn-C3R0S2D1"]


@pytest.mark.parametrize("name", ["st", "gumbel_st", "reinmax"])
def test_scores_by_common_products_equal_scores_one_by_one(name, monkeypatch):
    """Taps are multiplied once for all candidates, also with strides and dropout."""
    space = tiny_space(
        CANDIDATES, "tdnn-C1S3D1", CANDIDATES, STRIDED, sharing="kernel",
        dropout_rate=0.3,
    )  # fmt: skip
    supernet = double_network(space).train()
    xs, ilens = torch.randn(3, 13, 3, dtype=torch.double), torch.tensor([13, 9, 2])

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(0)
        draws = torch.Generator().manual_seed(0)
        gates = supernet.architecture_gates(build_estimator(name), draws)
        with supernet.routed(gates):
            ys, _ = supernet(xs, ilens)
        return torch.autograd.grad(ys.pow(3).sum(), supernet.logits)

    common = gradients()
    monkeypatch.setattr(TDNN, "shared_products", lambda *_: None)
    for one, other in zip(common, gradients(), strict=True):
        assert other.abs().max() > 1e-6
        torch.testing.assert_close(one, other)


def test_a_weight_step_of_one_candidate_moves_the_others():
    """The middle of the kernel moves, its outer taps have no gradient."""
    space = tiny_space(["tdnn-C1D1", "tdnn-C2D2"], sharing="kernel")
    supernet = double_network(space).train()
    xs, ilens = torch.randn(2, 9, 3, dtype=torch.double), torch.tensor([9, 5])
    with supernet.routed([Gate((0,))]):
        supernet(xs, ilens)[0].square().sum().backward()
    gradient = supernet.choice_blocks[0].shared[0].get_parameter("conv.weight").grad
    assert gradient[:, :, [0, 4]].abs().max() == 0
    assert (gradient[:, :, 1:4].abs().amax((0, 1)) > 0).all()


def test_a_supernet_with_shared_weights_is_about_as_large_as_its_largest_path():
    space = {"layers": [["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1", "tdnn-C2D2"]] * 3}
    sizes = {
        sharing: sum(
            p.numel()
            for p in build_supernet(
                SearchSpace.from_conf({**space, "width": 16, "sharing": sharing}), 16
            ).parameters()
        )
        for sharing in ("kernel", "none")
    }
    largest = build_supernet(SearchSpace.from_conf({**space, "width": 16}), 16)
    path = sum(
        p.numel()
        for layer in largest.choice_blocks
        for p in layer.operations[3].parameters()
    )
    # Three more candidates in each of three layers have a bias and a norm of their own.
    vectors = 3 * 3 * (16 + 2 * 16)
    assert sizes["kernel"] == path + vectors + sum(p.numel() for p in largest.logits)
    assert sizes["none"] > 2.8 * sizes["kernel"]


def test_sharing_is_checked_and_part_of_the_space_alone():
    choice = {"layers": [["tdnn-C1D1", "tdnn-C1D2"]], "sharing": "kernel"}
    space = SearchSpace.from_conf(choice)
    assert space.to_conf()["sharing"] == "kernel"
    assert space.digest != SearchSpace.from_conf({**choice, "sharing": "none"}).digest
    architecture = space.resolve([1])
    assert "sharing" not in architecture.to_conf()
    assert space.index(architecture) == (1,)
    assert architecture == SearchSpace.from_conf(architecture.to_conf())
    with pytest.raises(ConfigError, match="sharing is 'all'; accepted are: kernel, n"):
        SearchSpace.from_conf({**choice, "sharing": "all"})
    with pytest.raises(ConfigError, match="sharing is 'kernel', but no layer is a ch"):
        SearchSpace.from_conf({"layers": ["tdnn-C1D1"], "sharing": "kernel"})
