from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from espnet_stnas.estimators import build_estimator
from espnet_stnas.network.network import build_network
from espnet_stnas.notation.spec import OpSpec
from tests.conftest import all_paths, batch, double_network, tiny_space

CANDIDATES = ["tdnn-C1D1", "tdnn-C2D2Nbn", "identity", "zero"]
SPACES = {
    "plain": tiny_space("tdnn-C1", CANDIDATES, "tdnn-C1S3", CANDIDATES),
    "residual": tiny_space("tdnn-C1", CANDIDATES, "tdnn-S2", "zero", residual=True),
    "front": tiny_space("deltas", ["tdnn", "tdnn-C2"], "tdnn-W7", "tdnn-W2Nbn"),
    "subsampled": tiny_space("conv2d-S4", ["tdnn", "tdnn-C2"]),
}


@pytest.mark.parametrize("name", SPACES)
def test_derived_network_equals_supernet_at_that_choice(name):
    """Also shows that an architecture takes the supernet's weights by their keys."""
    space = SPACES[name]
    supernet = double_network(space, 12).eval()
    xs, ilens = batch((41, 29), 12)
    for path in all_paths(space):
        fixed = build_network(space.resolve(path), 12).double().eval()
        weights = {k: supernet.state_dict()[k] for k in fixed.state_dict()}
        fixed.load_state_dict(weights)
        for layer, index in zip(supernet.choice_blocks, path, strict=True):
            layer.logits.data = torch.zeros_like(layer.logits)
            layer.logits.data[index] = 1.0
        assert supernet.architecture() == space.resolve(path)
        for a, b in zip(supernet(xs, ilens), fixed(xs, ilens), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("name", SPACES)
def test_more_padding_changes_nothing(name):
    network = build_network(SPACES[name].resolve(all_paths(SPACES[name])[0]), 12)
    network.double().eval()
    xs, ilens = batch((41, 29), 12)
    ys, olens = network(xs, ilens)
    padded = torch.nn.functional.pad(xs, (0, 0, 0, 13), value=float("nan"))
    junk = padded.clone()
    junk[1, 29:] = float("inf")
    for other in (padded, junk):
        other_ys, other_lens = network(other, ilens)
        assert torch.equal(other_lens, olens)
        torch.testing.assert_close(other_ys, ys, rtol=0, atol=0)
    assert ys.size(1) == olens.max()


def test_a_forward_formats_no_names(monkeypatch):
    """They take longer than small layers, with their scores in every step."""
    supernet = double_network(tiny_space("tdnn", CANDIDATES)).train()
    gates = supernet.architecture_gates(
        build_estimator("st"), torch.Generator().manual_seed(0)
    )

    def refuse(self):
        raise AssertionError("the name of an operation was formatted")

    monkeypatch.setattr(OpSpec, "__str__", refuse)
    with supernet.routed(gates):
        supernet(*batch())[0].sum().backward()


def test_residual_adds_the_input():
    network = double_network(tiny_space("zero", residual=True), 4)
    xs, ilens = batch((5, 5), 4)
    torch.testing.assert_close(network(xs, ilens)[0], xs)
    network = double_network(tiny_space("identity", residual=True), 4)
    torch.testing.assert_close(network(xs, ilens)[0], 2 * xs)


def test_fixed_network_has_no_search_code():
    code = """
import sys
from espnet_stnas.host.encoder import STNASEncoder
import torch
encoder = STNASEncoder(8, layers=["deltas", "tdnn-C1D1", "identity"], width=24)
encoder.load_state_dict(encoder.state_dict())
encoder(torch.randn(1, 9, 8), torch.tensor([9]))
search = ("supernet", "estimators", "search", "results", "cost")
found = [m for m in sys.modules if m.split(".")[1:2] and m.startswith("espnet_stnas")
         and m.split(".")[1] in search]
sys.exit(str(found) if found else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
