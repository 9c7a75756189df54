"""Exported encoders give what the encoder gives, for any batch and length."""

from __future__ import annotations

import re

import pytest
import torch

from espnet_stnas.cli import export
from espnet_stnas.errors import ConfigError
from espnet_stnas.export.program import export_program, write_onnx
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.notation.families import FAMILIES
from espnet_stnas.results.architecture import Architecture
from tests.conftest import tiny_space

CHAINS = {
    "tdnn": ["tdnn-C1S3D1", {"op": "tdnn", "norm": "bn"}, "tdnn-C1S2+tdnn-C2"],
    "conv2d": ["conv2d-S4", "tdnnf-C1D1", "sepconv-C2S2D1"],
    "deltas": ["deltas-O2", "tdnn-C1S2", "identity"],
    "bidirectional": [{"bidirectional": {"forward": ["tdnn-C1S2"]}}],
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
    encoder = STNASEncoder(20, layers=["tdnn", name, "norm"], width=8).eval()
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


def test_command(tmp_path, capsys):
    space = tiny_space("tdnn-C1S2", "tdnn-C1D2")
    Architecture(space).write(tmp_path / "a.yaml")
    encoder = STNASEncoder(6, **space.to_conf()).eval()
    state = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
    torch.save({**state, "ctc.bias": torch.zeros(2)}, tmp_path / "m.pth")
    torch.save({"ctc.bias": torch.zeros(2)}, tmp_path / "other.pth")
    torch.save([1], tmp_path / "list.pth")

    def run(model: str, output: str, size: str = "6") -> None:
        files = ["--arch", str(tmp_path / "a.yaml"), "--input_size", size]
        files += ["--model_file", str(tmp_path / model)]
        export.main([*files, "--output", str(tmp_path / output)])

    run("m.pth", "e.pt2")
    assert str(tmp_path / "e.pt2") in capsys.readouterr().out
    program = torch.export.load(tmp_path / "e.pt2").module()
    xs, lengths = torch.randn(2, 31, 6), torch.tensor([31, 20])
    torch.testing.assert_close(program(xs, lengths)[0], encoder(xs, lengths)[0])
    for wrong, message in (
        (("no.pth", "e.pt2"), "no.pth does not exist; accepted is"),
        (("a.yaml", "e.pt2"), "a.yaml cannot be read as weights; accepted is"),
        (("list.pth", "e.pt2"), "list.pth holds something else than weights"),
        (("other.pth", "e.pt2"), "other.pth holds the weights of 0 encoders"),
        (("m.pth", "e.bin"), "output is '.*e.bin'; accepted is a name that ends in"),
        (("m.pth", "e.pt2", "7"), "has the shape .* here and .* in the checkpoint"),
    ):
        with pytest.raises(SystemExit, match=f"^error: .*{message}"):
            run(*wrong)
