"""A retraining that starts from the supernet's weights of the derived path."""

from __future__ import annotations

import pytest
import torch
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import Gate
from espnet_stnas.network.loading import digest_key
from espnet_stnas.network.weights import inherited
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.search import program
from espnet_stnas.search.task import SearchASRTask
from espnet_stnas.supernet.supernet import find_supernet
from tests.conftest import double_network, tiny_space
from tests.search.conftest import command, search_config

CHOICE = ["tdnn-C1D1", "tdnn-C1D2"]


def encoder_state(network) -> dict[str, torch.Tensor]:
    """The state of a network inside of an encoder, inside of a model."""
    state = {f"encoder.network.{k}": v for k, v in network.state_dict().items()}
    return {**state, f"encoder.{digest_key(network.space)}": torch.zeros(1)}


def test_path_of_a_supernet_runs_as_inherited():
    """Also with an operation that has no weights, and a shared choice."""
    shared = {"choice": "a", "candidates": ["tdnn-C1D1", "tdnn-C1D2"]}
    choice = ["identity", "tdnn-C2D1Nbn"]
    space = tiny_space("tdnn-C1S2", shared, choice, shared)
    supernet = double_network(space).eval()
    xs, ilens = torch.randn(2, 9, 3, dtype=torch.double), torch.tensor([9, 5])
    weights = encoder_state(supernet)
    weights["ctc.bias"] = torch.zeros(2)
    for path in ((0, 0), (1, 1)):
        architecture = space.resolve(path)
        chosen = inherited(weights, space, architecture, "x.pth")
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
            inherited(weights, space, space.resolve((0,)), "x.pth")
    skips = encoder_state(double_network(tiny_space(CHOICE, residual=True)))
    with pytest.raises(ConfigError, match="another search space: .* but residual, "):
        inherited(skips, space, space.resolve((0,)), "x.pth")
    with pytest.raises(ConfigError, match="weights of 0 encoders"):
        inherited({}, space, space.resolve((0,)), "x.pth")


@pytest.mark.slow
def test_retraining_starts_as_the_supernet_ended(corpus, tmp_path, capsys):
    """Through derive and ESPnet's own --init_param; averages are never taken."""
    from espnet2.tasks.asr import ASRTask
    from espnet2.torch_utils.load_pretrained_model import load_pretrained_model

    exp, init = tmp_path / "exp", tmp_path / "init.pth"
    program.main(command(corpus, exp, search_config(max_epoch=2)))
    derived = [str(exp), "--init_output", str(init)]
    stnas(["derive", *derived, "--output", str(tmp_path / "a.yaml")])
    architecture = Architecture.read(tmp_path / "a.yaml").space

    config = yaml.safe_load((exp / "config.yaml").read_text())
    supernet_model, _ = SearchASRTask.build_model_from_file(
        exp / "config.yaml", exp / "2epoch.pth", "cpu"
    )
    config["encoder_conf"] = architecture.to_conf()
    (tmp_path / "fixed.yaml").write_text(yaml.safe_dump(config))
    fixed, _ = ASRTask.build_model_from_file(tmp_path / "fixed.yaml", None, "cpu")
    load_pretrained_model(str(init), fixed, ignore_init_mismatch=False)
    batch = {
        "speech": torch.randn(2, 4000),
        "speech_lengths": torch.tensor([4000, 3000]),
        "text": torch.tensor([[2, 3, 4], [3, 2, -1]]),
        "text_lengths": torch.tensor([3, 2]),
    }
    path = find_supernet(supernet_model).space.index(architecture)
    with (
        torch.no_grad(),
        find_supernet(supernet_model).routed([Gate((k,)) for k in path]),
    ):
        expected = supernet_model.eval()(**batch)[0]
    assert torch.equal(fixed.eval()(**batch)[0], expected)

    (exp / "2epoch.pth").unlink()
    (exp / "checkpoint.pth").unlink()
    with pytest.raises(SystemExit, match="^error: .* has no weights of epoch 2: neith"):
        stnas(["derive", *derived])
    with pytest.raises(SystemExit, match="--init_output needs a search, and .* is a f"):
        stnas(["derive", str(tmp_path / "a.yaml"), "--init_output", str(init)])
