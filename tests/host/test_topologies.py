"""Every topology in a whole training step of an ESPnet model, searched and fixed."""

from __future__ import annotations

import json

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import build_estimator
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.notation.reference import import_config
from espnet_stnas.notation.zeros import refuse_zero_candidates
from espnet_stnas.supernet.steps import architecture_step, weight_step
from tests.host.test_tasks import CASES, build, frames
from tests.notation.test_reference import TDNN, write

PAIR = ["tdnn-C1D1", "tdnn-C2D2Nbn"]
BODY = [PAIR, "tdnn-C0"]
RESIDUAL = {"residual": {"body": BODY, "shortcut": ["zero", "identity"]}}
BIDIRECTIONAL = {"bidirectional": {"forward": BODY, "backward": [PAIR]}}
START = "tdnn-C1S3D1"
LAYERS = {
    "chain": [START, PAIR, PAIR],
    "repeat": [START, {"repeat": 2, "layers": [PAIR]}],
    "chains in a choice": [["tdnn-S3W4+tdnn", "tdnn-C1W6+tdnn-S3"], PAIR],
    "tied": [START, *[{"choice": "a", "candidates": PAIR}] * 2],
    "residual inside": [START, RESIDUAL, PAIR],
    "residual at the end": [START, RESIDUAL],
    "bidirectional inside": [START, BIDIRECTIONAL, PAIR],
    "bidirectional at the end": [START, BIDIRECTIONAL],
    "only bidirectional": [{"bidirectional": {"forward": [START, PAIR]}}],
    "bidirectional in residual": [START, {"residual": {"body": [BIDIRECTIONAL]}}],
    "residual in bidirectional": [
        START,
        {
            "bidirectional": {
                "forward": ["tdnn-W4", RESIDUAL],
                "backward": [{"residual": {"body": BODY, "shortcut": "tdnn-C0"}}],
            }
        },
    ],
    "cell": [
        START,
        {
            "cell": {
                "nodes": [[PAIR], [RESIDUAL]],
                "skips": [["zero"], [["zero", "identity"], "identity"]],
            }
        },
    ],
    "bidirectional twice": [
        START,
        {"bidirectional": {"forward": [BIDIRECTIONAL, BIDIRECTIONAL]}},
    ],
}


def model_of(conf: dict, tmp_path, name: str = "asr_ctc") -> torch.nn.Module:
    task = CASES[name]
    case = type(task)(task.task, {**task.options, "encoder_conf": conf}, task.batch)
    return build(case, tmp_path)[0].train()


def steps(conf: dict, tmp_path) -> None:
    """A weight step and an architecture step of the search; one of what it derives."""
    model = model_of(conf, tmp_path)
    encoder = model.encoder
    batch = {**frames(), **CASES["asr_ctc"].batch}

    def loss() -> torch.Tensor:
        return model(**batch)[0]

    logits = [encoder.network.logits]
    weights = [p for n, p in model.named_parameters() if not n.endswith("logits")]
    optimizers = [torch.optim.SGD(p, lr=0.1) for p in (weights, logits[0])]
    draws = torch.Generator()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    estimator = build_estimator("st")
    assert weight_step(model, loss, estimator, optimizers[0], draws) > 0
    report = architecture_step(model, loss, estimator, optimizers[1], draws)
    assert report["arch_skipped"] == 0 and report["arch_grad_norm"] > 0
    changed = {
        k for k, v in model.state_dict().items() if not torch.equal(v, before[k])
    }
    assert any(key.endswith("logits") for key in changed)
    assert any(key.startswith("ctc.") for key in changed)

    fixed = model_of(encoder.network.architecture().to_conf(), tmp_path)
    fixed(**batch)[0].backward()
    assert all(p.grad is not None for p in fixed.ctc.parameters())
    torch.optim.SGD(fixed.parameters(), lr=0.01).step()
    assert torch.isfinite(fixed(**batch)[0])
    ys, _, _ = fixed.encoder(torch.randn(1, 36, 12), torch.tensor([36]))
    assert ys.size(2) == fixed.encoder.output_size() == fixed.ctc.ctc_lo.in_features


@pytest.mark.parametrize("name", LAYERS)
def test_every_topology_trains(name, tmp_path):
    steps({"width": 8, "dropout_rate": 0.1, "layers": LAYERS[name]}, tmp_path)


@pytest.mark.parametrize("net", ["UniNodeNet", "BiNodeNet", "ResidualNet"])
def test_networks_of_the_reference_train(net, tmp_path):
    space = import_config(write(tmp_path / "config.json", net, TDNN, idim=12))
    steps(space.to_conf(), tmp_path)


@pytest.mark.parametrize(
    "layers",
    [
        ["tdnn", "zero"],
        ["tdnn", [["zero"]][0], PAIR],
        ["tdnn+zero-W4", PAIR],
        [{"residual": {"body": ["tdnn", "zero"], "shortcut": "zero-W4"}}],
        [{"bidirectional": {"forward": ["zero-W2"], "backward": ["zero-W2"]}}],
        [
            "tdnn",
            {
                "cell": {
                    "nodes": [["zero"], ["tdnn"]],
                    "skips": [["zero"], ["zero", "identity"]],
                }
            },
        ],
    ],
    ids=json.dumps,
)
def test_an_encoder_of_zeros_is_refused(layers):
    with pytest.raises(ConfigError, match=r"layer \d .*'.*zero.* without a skip arou"):
        STNASEncoder(3, layers=layers, width=4)


@pytest.mark.parametrize(
    "layers", [["tdnn", ["tdnn", "zero"]], [["tdnn", "tdnn+zero-W4"], "tdnn"]]
)
def test_a_search_that_could_find_zeros_is_refused(layers):
    """The supernet itself can be built, since its results can be read."""
    space = STNASEncoder(4, layers=layers, width=4).space
    with pytest.raises(ConfigError, match=r"layer \d .* candidate '.*zero.*' without"):
        refuse_zero_candidates(space, 4)
    skips = {"layers": [*layers, RESIDUAL], "width": 4, "residual": True}
    refuse_zero_candidates(STNASEncoder(4, **skips).space, 4)


def test_zeros_inside_of_skips_are_fine():
    STNASEncoder(4, layers=["zero", PAIR], width=4, residual=True)
    block = {"residual": {"body": ["tdnn"], "shortcut": "zero-W4"}}
    STNASEncoder(3, layers=[block], width=4)
    skips = [["zero"], ["identity", "zero"]]
    block = {"cell": {"nodes": [["zero"], ["zero"]], "skips": skips}}
    STNASEncoder(4, layers=["tdnn", block], width=4)
