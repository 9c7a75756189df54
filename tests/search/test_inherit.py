"""The supernet's weights of one path."""

from __future__ import annotations

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import Gate
from espnet_stnas.network.loading import digest_key
from espnet_stnas.network.weights import inherited
from tests.conftest import double_network, tiny_space

CHOICE = ["tdnn-C1D1", "tdnn-C1D2"]


def encoder_state(network) -> dict[str, torch.Tensor]:
    """The state of a network inside of an encoder, inside of a model."""
    state = {f"encoder.network.{k}": v for k, v in network.state_dict().items()}
    return {**state, f"encoder.{digest_key(network.space)}": torch.zeros(1)}


@pytest.mark.parametrize("sharing", ["kernel", "none"])
def test_path_of_a_supernet_runs_as_inherited(sharing):
    """Also with an operation that has no weights, and a shared choice."""
    shared = {"choice": "a", "candidates": ["tdnn-C1D1", "tdnn-C2D2"]}
    choice = ["identity", "tdnn-C2D1Nbn", "tdnn-C1D1Nbn"]
    space = tiny_space("tdnn-C1S2", shared, choice, shared, sharing=sharing)
    supernet = double_network(space).eval()
    xs, ilens = torch.randn(2, 9, 3, dtype=torch.double), torch.tensor([9, 5])
    weights = encoder_state(supernet)
    weights["ctc.bias"] = torch.zeros(2)
    for path in ((0, 0), (1, 1), (0, 2)):
        architecture = space.resolve(path)
        chosen = inherited(weights, space, architecture, "x.pth", 3)
        assert "ctc.bias" in chosen
        named = [key for key in chosen if "architecture" in key]
        assert named == [f"encoder.{digest_key(architecture)}"]
        fixed = double_network(architecture).eval()
        fixed.load_state_dict(
            {
                k.removeprefix("encoder.network."): v
                for k, v in chosen.items()
                if k.startswith("encoder.network.")
            }
        )
        with supernet.routed([Gate((k,)) for k in path]):
            expected = supernet(xs, ilens)[0]
        assert torch.equal(fixed(xs, ilens)[0], expected)


def test_weights_of_another_space_are_one_sentence():
    space = tiny_space(CHOICE)
    for layer in (["tdnn-C1D1", "tdnn-C1D3"], "tdnn-C1D1"):
        other = double_network(tiny_space(layer))
        weights = encoder_state(other)
        with pytest.raises(ConfigError, match="x.pth holds the weights of another sea"):
            inherited(weights, space, space.resolve((0,)), "x.pth", 3)
    skips = encoder_state(double_network(tiny_space(CHOICE, residual=True)))
    with pytest.raises(ConfigError, match="another search space: .* but residual, "):
        inherited(skips, space, space.resolve((0,)), "x.pth", 3)
    with pytest.raises(ConfigError, match="weights of 0 encoders"):
        inherited({}, space, space.resolve((0,)), "x.pth", 3)
