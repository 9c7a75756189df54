"""Exported encoders give what the encoder gives, for any batch and length."""

from __future__ import annotations

import re

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.export.encoder import ExportedEncoder
from espnet_stnas.export.program import export_program, onnx_bytes
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
    "streaming": ["tdnn-C2R0S2D1", "ebranchformer-H2K5R1G8C4", "conformer-H2K3R0C8L4"],
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
def test_onnx_and_torch_agree_with_the_encoder(name):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs extra 'export'")
    pytest.importorskip("onnxscript", reason="needs extra 'export'")
    encoder = STNASEncoder(20, layers=CHAINS[name], width=8).eval()
    module = ExportedEncoder(encoder, 20)
    program = export_program(module)
    session = onnxruntime.InferenceSession(onnx_bytes(program, module, {}))
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
        program = export_program(ExportedEncoder(encoder, 20))
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
        ExportedEncoder(STNASEncoder(6, layers=layers, width=4), 6)
