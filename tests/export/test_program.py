"""Exported encoders give what the encoder gives, for any batch and length."""

from __future__ import annotations

import re

import pytest
import torch
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.export.program import export_program, write_onnx
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.notation.families import FAMILIES

CHAINS = {
    "tdnn": ["tdnn-C1S3D1", {"op": "tdnn", "norm": "bn"}, "tdnn-C1S2+tdnn-C2"],
    "conv2d": ["conv2d-S4", "tdnnf-C1D1", "sepconv-C2S2D1"],
    "deltas": ["deltas-O2", "tdnn-C1S2", "identity"],
    "bidirectional": [{"bidirectional": {"forward": ["tdnn-C1S2"]}}],
    "gtdnn": ["tdnn", "gtdnn-C1S2D1G2", "deformtdnn-C1S2D1"],
    "multiconvformer": ["conv2d-S4", "positions-Prel", "multiconvformer-H2K5Q2"],
    "cell": [
        "tdnn",
        {
            "cell": {
                "nodes": [["tdnn-C1S2"], ["tdnn"]],
                "skips": [["tdnn-S2"], ["zero+tdnn-S2", "identity"]],
            }
        },
    ],
    "conformer": ["conv2d-S4", "positions-Prel", "conformer-H2K3", "norm"],
    "transformer": ["conv2d-S4", "positions-Pabs", "transformer-H2", "ff"],
}


def batches(encoder: STNASEncoder):
    for batch, frames in ((1, 30), (2, 57), (5, 300)):
        lengths = torch.tensor([frames] + [frames - 4 * i for i in range(1, batch)])
        xs = torch.randn(batch, frames, 20)
        with torch.no_grad():
            ys, olens, _ = encoder(xs, lengths)
        yield xs, lengths, ys, olens


@pytest.mark.parametrize("name", CHAINS)
def test_onnx_and_torch_agree_with_the_encoder(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs extra 'export'")
    pytest.importorskip("onnxscript", reason="needs extra 'export'")
    encoder = STNASEncoder(20, layers=CHAINS[name], width=8).eval()
    program = export_program(encoder, 20)
    write_onnx(program, tmp_path / "e.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "e.onnx"))
    for xs, lengths, ys, olens in batches(encoder):
        feed = {"frames": xs.numpy(), "lengths": lengths.numpy()}
        for found, found_lengths in (
            map(torch.as_tensor, session.run(None, feed)),
            program.module()(xs, lengths),
        ):
            assert found_lengths.tolist() == olens.tolist()
            torch.testing.assert_close(found, ys, rtol=1e-4, atol=1e-4)


LISTED = re.findall(r"\b[a-z0-9]+\b", str(CHAINS))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in LISTED])
def test_other_operations_are_exported_or_refused(name):
    layers = ["tdnn", {"residual": {"body": [name]}}, "norm"]  # as a zero needs
    encoder = STNASEncoder(20, layers=layers, width=8).eval()
    try:
        program = export_program(encoder, 20)
    except ConfigError as error:
        assert f"operation '{name}" in str(error)
        return
    for xs, lengths, ys, _ in batches(encoder):
        found, _ = program.module()(xs, lengths)
        torch.testing.assert_close(found, ys, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([["tdnn-C1D1", "tdnn-C1D2"]], "1 choices left; accepted for export is an"),
        (["tdnn", "lstm"], "operation 'lstm' cannot be exported, .*; accepted are all"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(layers, message):
    with pytest.raises(ConfigError, match=message):
        export_program(STNASEncoder(6, layers=layers, width=4), 6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training as ESPnet leaves it, and its encoder; 8 features of 80 by default."""
    from espnet2.tasks.asr import ASRTask

    exp = tmp_path_factory.mktemp("trained") / "asr"
    exp.mkdir()
    args = ASRTask.get_parser().parse_args(["--output_dir", str(exp)])
    config = {
        **vars(args),
        "token_list": ["<blank>", "<unk>", "a", "<sos/eos>"],
        "encoder": "stnas",
        "encoder_conf": {"layers": ["tdnn-C1S2", "conv2d-S2", "ff"], "width": 16},
        "frontend_conf": {"fs": 8000, "n_fft": 128, "hop_length": 80, "n_mels": 8},
        "normalize": "utterance_mvn",
        "model_conf": {"ctc_weight": 1.0},
    }
    (exp / "config.yaml").write_text(yaml.safe_dump(config))
    model, _ = ASRTask.build_model_from_file(str(exp / "config.yaml"))
    torch.save(model.state_dict(), exp / "valid.loss.best.pth")
    return exp, model.encoder.eval()


def test_input_size_and_weights_are_those_of_the_training(trained, tmp_path, capsys):
    exp, encoder = trained
    stnas(["export", str(exp), "--output", str(tmp_path / "e.pt2")])
    assert capsys.readouterr().out == (
        f"{tmp_path}/e.pt2: encoder of {exp}/valid.loss.best.pth, for frames of 8 "
        "(frontend default, normalised by utterance_mvn)\n"
    )
    program = torch.export.load(tmp_path / "e.pt2").module()
    xs, lengths = torch.randn(2, 31, 8), torch.tensor([31, 20])
    torch.testing.assert_close(program(xs, lengths)[0], encoder(xs, lengths)[0])


def test_weights_of_8_bits(trained, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs extra 'export'")
    pytest.importorskip("onnxscript", reason="needs extra 'export'")
    exp, encoder = trained
    path = tmp_path / "e.onnx"
    stnas(["export", str(exp), "--output", str(path), "--int8"])
    said = re.search(
        r"differ by at most (\S+) from .* reach (\S+)", capsys.readouterr().out
    )
    assert 0 < float(said[1]) < 0.1 * float(said[2])
    session = onnxruntime.InferenceSession(str(path))
    xs, lengths = torch.randn(2, 90, 8), torch.tensor([90, 60])
    feed = {"frames": xs.numpy(), "lengths": lengths.numpy()}
    found, found_lengths = map(torch.as_tensor, session.run(None, feed))
    ys, olens, _ = encoder(xs, lengths)
    assert found_lengths.tolist() == olens.tolist()
    assert 0 < (found - ys).abs().max() < 0.2 * ys.abs().max()
    assert [p.name for p in tmp_path.iterdir()] == ["e.onnx"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--output=e.bin"],
            "output is 'e.bin'; accepted is a name that ends",
        ),
        (["--output=e.pt2", "--int8"], "accepted with --int8 is a name that ends in"),
        (
            ["--output=e.pt2", "--model_file=no.pth"],
            "no.pth does not exist; is the",
        ),
        (["--output=e.pt2", "--model_file=config.yaml"], "no ASR model can be built"),
    ],
)
def test_what_the_command_refuses(trained, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        stnas(["export", str(trained[0]), *options])
    assert list(tmp_path.iterdir()) == []


def test_other_experiments(trained, tmp_path):
    with pytest.raises(SystemExit, match="nothing is no directory; accepted is the ou"):
        stnas(["export", str(tmp_path / "nothing"), "--output=e.onnx"])
    with pytest.raises(SystemExit, match="has none of the weights valid.loss.ave.pth"):
        stnas(["export", str(tmp_path), "--output=e.onnx"])
