from __future__ import annotations

import argparse

import pytest
import torch
import yaml
from espnet2.tasks.asr import ASRTask, encoder_choices
from espnet2.torch_utils import initialize as initialization

import espnet_stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.supernet.supernet import Supernet

CHOICE = ["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1", "tdnn-C2D2"]


def test_registered_once():
    espnet_stnas.register()
    assert encoder_choices.get_class("stnas") is STNASEncoder
    assert encoder_choices.choices().count("stnas") == 1


def test_parameter_count_of_the_paper():
    """The 11.9 M of Zheng et al. 2021 on WSJ, with an output layer of 72 phones."""
    layers = ["tdnn-C2D1"] * 3 + ["tdnn-C1S3D1"] + ["tdnn-C2D2"] * 3
    encoder = STNASEncoder(120, layers=layers, width=640, dropout_rate=0.5)
    parameters = sum(p.numel() for p in encoder.parameters())
    output = torch.nn.Linear(encoder.output_size(), 72)
    assert parameters == 11_866_240
    assert parameters + sum(p.numel() for p in output.parameters()) == 11_912_392


@pytest.mark.parametrize("deltas", [False, True])
def test_forward_as_espnet_calls_it(deltas):
    layers = ["deltas"] * deltas + [CHOICE, "tdnn-C1S3", "tdnn-W5"]
    encoder = STNASEncoder(6, layers=layers, width=4).eval()
    ys, olens, states = encoder(torch.randn(2, 20, 6), torch.tensor([17, 9]))
    assert ys.shape == (2, 6, 5)  # cut to the longest utterance, as ESPnet asserts
    assert olens.tolist() == [6, 3]
    assert states is None
    assert encoder.output_size() == 5


def test_supernet_trains_only_with_paths():
    encoder = STNASEncoder(6, layers=[CHOICE], width=4)
    assert isinstance(encoder.network, Supernet)
    with pytest.raises(RuntimeError, match="search space with 1 choices.*stnas search"):
        encoder(torch.randn(1, 9, 6), torch.tensor([9]))


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({}, "the key 'layers' is missing"),
        ({"layers": ["tdnn"], "output_size": 3}, "unknown key 'output_size'"),
        ({"layers": ["squeezeformer"]}, "unknown operation 'squeezeformer'"),
    ],
)
def test_errors_name_the_key(conf, message):
    with pytest.raises(ConfigError, match=message):
        STNASEncoder(6, **conf)


def build_asr_model(tmp_path, *options: str):
    parser = ASRTask.get_parser()
    args = parser.parse_args(
        [
            *(
                "--encoder",
                "stnas",
                "--input_size",
                "12",
                "--output_dir",
                str(tmp_path),
            ),
            *("--token_type", "char", *options),
        ]
    )
    args.token_list = ["<blank>", "<unk>", "a", "b", "<sos/eos>"]
    return ASRTask.build_model(args)


@pytest.mark.parametrize("init", ["none", "xavier_uniform", "kaiming_normal"])
def test_espnet_builds_and_trains_it(tmp_path, init):
    """With the conf as ESPnet's command line or YAML gives it, and any --init."""
    conf = tmp_path / "conf.yaml"
    layers = ["conv2d-S2", {"op": "tdnn", "norm": "bn"}, "tdnn-C1S3"]
    conf.write_text(
        yaml.safe_dump(
            {
                "encoder": "stnas",
                "encoder_conf": {"layers": layers, "width": 6, "dropout_rate": 0.0},
                "model_conf": {"ctc_weight": 1.0},
                "normalize": "utterance_mvn",
            }
        )
    )
    model = build_asr_model(tmp_path, "--config", str(conf), "--init", init)
    loss, stats, weight = model(
        speech=torch.randn(2, 70, 12),
        speech_lengths=torch.tensor([70, 55]),
        text=torch.tensor([[2, 3, 2], [3, 2, -1]]),
        text_lengths=torch.tensor([3, 2]),
    )
    loss.backward()
    assert torch.isfinite(loss)
    missing = [n for n, p in model.named_parameters() if p.grad is None]
    assert missing == []
    norms = [m for n, m in model.named_modules() if n.endswith("norm")]
    assert all(torch.equal(m.weight, torch.ones_like(m.weight)) for m in norms[:2])


INITS = ["xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"]
INITS += ["normal"]
# Versions of ESPnet that list what they have, have it no longer.
INITS += [] if hasattr(initialization, "INITIALIZATIONS") else ["chainer"]


@pytest.mark.parametrize("init", INITS)
def test_inits_of_espnet_scale_convolutions_as_conv1d(init):
    """Time-delay, factorised and depthwise layers; the logits of choices stay zero."""
    ops = ["tdnn-C2D1", "tdnnf-C1D1B24", "sepconv-C1D1"]
    model = STNASEncoder(input_size=96, layers=[ops, "tdnn-C1D2"], width=64)
    choice, fixed = model.network.layers
    built = {"tdnn-C1D2": fixed.operations[0].conv}
    built["tdnn-C2D1"], built["tdnnf-C1D1B24"] = (o.conv for o in choice.operations[:2])
    built["sepconv-C1D1"] = choice.operations[2].depthwise
    expected = torch.nn.ModuleDict(
        {
            "tdnn-C1D2": torch.nn.Conv1d(64, 64, 3),
            "tdnn-C2D1": torch.nn.Conv1d(96, 64, 5),
            "tdnnf-C1D1B24": torch.nn.Conv1d(96, 24, 3),
            "sepconv-C1D1": torch.nn.Conv1d(96, 96, 3, groups=96),
        }
    )
    torch.manual_seed(0)
    for one in (model, expected):
        initialization.initialize(one, init)
    for name, conv in built.items():
        like = expected[name].weight
        assert conv.weight.shape == like.shape
        # So few weights has a depthwise layer that their deviation is not exact.
        ratio = (conv.weight.std() / like.std()).item()
        assert ratio == pytest.approx(1, abs=0.15)
    assert not choice.logits.any()


def test_print_config_shows_its_options(monkeypatch):
    monkeypatch.setattr("sys.argv", ["asr_train", "--encoder", "stnas"])
    conf = ASRTask.get_default_config()["encoder_conf"]
    assert conf["dropout_rate"] == 0.5
    assert yaml.safe_load(yaml.safe_dump(conf)) == conf


def test_default_kwargs_are_plain():
    from espnet2.utils.get_default_kwargs import get_default_kwargs

    conf = get_default_kwargs(STNASEncoder)
    assert conf["width"] == 640
    assert yaml.safe_load(yaml.safe_dump(conf)) == conf


def test_args_namespace_is_not_changed(tmp_path):
    conf = {"layers": [{"op": "tdnn"}, CHOICE], "width": 4}
    args = argparse.Namespace(conf=conf)
    STNASEncoder(6, **args.conf)
    assert args.conf == {"layers": [{"op": "tdnn"}, CHOICE], "width": 4}
