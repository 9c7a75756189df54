"""Many paths at once give what one forward per path gives, with fewer forwards."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from espnet_stnas.estimators.base import Gate
from espnet_stnas.ops.norm import MaskedBatchNorm
from espnet_stnas.supernet.paths import calibrate, on_paths
from tests.conftest import all_paths, batch, double_network, tiny_space

THREE = ["tdnn-C1D1", "tdnn-C2D2", "identity"]
NORMED = ["tdnn-C1Nbn", "tdnn-C2D2Nbn"]
SHARED = {"choice": "a", "candidates": ["tdnn-C1", "tdnn-C2"]}
SPACES = {
    "chain": tiny_space("tdnn", THREE, "tdnn-S2", THREE[:2], "tdnn-C0"),
    "first": tiny_space(THREE[:2], THREE[:2]),
    "skips": tiny_space("tdnn", THREE, THREE[:2], residual=True),
    "kernel": tiny_space("tdnn", THREE, THREE[:2], sharing="kernel"),
    "group": tiny_space("tdnn", SHARED, THREE, SHARED, "tdnn-C0"),
    "norms": tiny_space("tdnn-Nbn", NORMED, "tdnn-Nbn", NORMED),
    "residual": tiny_space(
        "tdnn",
        {"residual": {"body": [THREE, "tdnn-C0"], "shortcut": THREE[1:]}},
        {"residual": {"body": [THREE[:2]]}},
    ),
    "bidirectional": tiny_space(
        {"bidirectional": {"forward": [THREE[:2]], "backward": [THREE[:2], "tdnn"]}},
        THREE[:2],
    ),
    "cell": tiny_space(
        "tdnn",
        {
            "cell": {
                "nodes": [[THREE[:2]], [THREE[:2], "tdnn-C0"], ["tdnn-C1D1"]],
                "skips": [
                    ["identity"],
                    [["zero", "identity"], "tdnn-C0"],
                    ["zero", ["zero", "identity"], "identity"],
                ],
            }
        },
    ),
    "nested": tiny_space(
        {
            "residual": {
                "body": [
                    {"bidirectional": {"forward": [THREE[:2]], "backward": ["tdnn"]}},
                    {"residual": {"body": [THREE[:2]], "shortcut": "tdnn"}},
                ],
                "shortcut": ["tdnn-C0", "tdnn-C1"],
            }
        },
        width=6,
    ),
}


def one_by_one(supernet, paths, inputs):
    found = []
    for path in paths:
        with supernet.routed([Gate((k,)) for k in path]), torch.no_grad():
            found.append(supernet(*inputs))
    return found


@pytest.mark.parametrize("name", SPACES)
def test_paths_equal_one_forward_each(name):
    supernet = double_network(SPACES[name]).eval()
    for norm in supernet.modules():
        if isinstance(norm, MaskedBatchNorm):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
    paths = all_paths(SPACES[name])
    random.Random(0).shuffle(paths)
    paths.append(paths[0])
    inputs = batch()
    found = on_paths(supernet, paths, *inputs, lambda ys, olens: (ys, olens))
    for (ys, olens), (own, lengths) in zip(
        found, one_by_one(supernet, paths, inputs), strict=True
    ):
        assert torch.equal(ys, own) and torch.equal(olens, lengths)
        assert not ys.requires_grad


def test_each_layer_runs_once_for_all_paths_that_agree_so_far():
    supernet = double_network(SPACES["group"]).eval()
    ran = Counter()
    for index, layer in enumerate(supernet.layers):
        layer.register_forward_hook(lambda *_, index=index: ran.update([index]))
    on_paths(supernet, all_paths(SPACES["group"]), *batch(), lambda ys, _: None)
    # Layer 4 takes the candidate of layer 2, so only the 2 * 3 prefixes count.
    assert ran == {0: 1, 1: 2, 2: 6, 3: 6, 4: 6}
    ran.clear()
    on_paths(supernet, [(1, 0), (1, 2)], *batch(), lambda ys, _: None)
    assert ran == {0: 1, 1: 1, 2: 2, 3: 2, 4: 2}


def test_few_activations_are_kept():
    """One per choice, not one per path."""
    supernet = double_network(tiny_space("tdnn", *[THREE] * 5)).eval()
    alive, most = [], 0

    def note(module, inputs, outputs):
        nonlocal most
        storage = outputs[0].untyped_storage()
        alive.append(StorageWeakRef(storage))
        alive[:] = [ref for ref in alive if not ref.expired()]
        most = max(most, len(alive))

    for layer in supernet.layers:
        layer.register_forward_hook(note)
    assert len(on_paths(supernet, all_paths(supernet.space), *batch(), len2)) == 3**5
    assert most <= 5 + 2  # the path's own outputs, and the layer that runs


def len2(ys, olens):
    return float(ys.sum())


def test_a_supernet_in_training_stays_as_it_is():
    supernet = double_network(SPACES["norms"]).train()
    supernet.layers[0].eval()
    before = {k: v.clone() for k, v in supernet.state_dict().items()}
    modes = [m.training for m in supernet.modules()]
    momenta = [m.momentum for m in supernet.modules() if isinstance(m, MaskedBatchNorm)]
    paths = all_paths(SPACES["norms"])
    statistics = calibrate(supernet, paths, [batch(), batch()])
    on_paths(supernet, paths, *batch(), len2, statistics)
    assert all(torch.equal(v, before[k]) for k, v in supernet.state_dict().items())
    assert [m.training for m in supernet.modules()] == modes
    assert momenta == [
        m.momentum for m in supernet.modules() if isinstance(m, MaskedBatchNorm)
    ]


def test_statistics_are_those_of_the_path_alone():
    """As of a supernet whose norms saw nothing but this path, batch by batch."""
    space = SPACES["norms"]
    supernet = double_network(space).eval()
    paths, batches, inputs = all_paths(space), [batch((9, 5)), batch((4, 8))], batch()
    statistics = calibrate(supernet, paths, batches)
    found = on_paths(supernet, paths, *inputs, lambda ys, _: ys, statistics)
    mixed = on_paths(supernet, paths, *inputs, lambda ys, _: ys)
    for path, ys, other in zip(paths, found, mixed, strict=True):
        alone = double_network(space)
        alone.load_state_dict(supernet.state_dict())
        for norm in alone.modules():
            if isinstance(norm, MaskedBatchNorm):
                norm.reset_running_stats()
                norm.momentum = None
        alone.train()
        with alone.routed([Gate((k,)) for k in path]):
            for one in batches:
                alone(*one)
        alone.eval()
        torch.testing.assert_close(ys, one_by_one(alone, [path], inputs)[0][0])
        assert not torch.allclose(ys, other)


def test_without_batch_norm_there_is_nothing_to_calibrate():
    supernet = double_network(SPACES["chain"])
    assert calibrate(supernet, all_paths(SPACES["chain"]), []) is None


def test_wrong_paths_are_refused():
    supernet = double_network(SPACES["norms"])
    for path in ((0,), (0, 2), (0, -1), (0, 0, 0)):
        with pytest.raises(ValueError, match="is no path"):
            on_paths(supernet, [path], *batch(), len2)
    with pytest.raises(ValueError, match="at least one batch"):
        calibrate(supernet, [(0, 0)], [])
    statistics = calibrate(supernet, [(0, 0)], [batch()])
    with pytest.raises(ValueError, match=r"lack paths that begin with \(1,\)"):
        on_paths(supernet, [(1, 0)], *batch(), len2, statistics)
