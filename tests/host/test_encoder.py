from __future__ import annotations

import argparse

import pytest
import torch
import yaml
from espnet2.tasks.asr import ASRTask, encoder_choices

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
