"""What it costs to run an encoder chunk by chunk in onnxruntime.

    python benchmarks/streaming.py

Exports encoders with random weights as stnas export --encoder_only does, with and
without --streaming. Prints CPU milliseconds for one utterance of noise with one thread:
of one call, of all calls, and of the whole utterance at once.
"""

from __future__ import annotations

import argparse
import statistics
from types import SimpleNamespace
from typing import Any

import torch
from measure import interleaved, markdown_table

from espnet_stnas.export.check import ChunkRunner, onnx_runner
from espnet_stnas.export.encoder import ExportedEncoder
from espnet_stnas.export.program import export_program, onnx_bytes
from espnet_stnas.export.streaming import StreamingStep
from espnet_stnas.host.encoder import STNASEncoder

INPUT_SIZE = 80


def _conformers(name: str) -> dict[str, Any]:
    layers = ["conv2d-S4", "positions-Prel", *[name] * 6, "norm"]
    return {"width": 144, "layers": layers}


ENCODERS: dict[str, dict[str, Any]] = {
    "nine `tdnn` of width 256": {
        "width": 256,
        "layers": ["tdnn-C2R1S4D1", *["tdnn-C2R1D1"] * 8],
    },
    "six `conformer-H4K15R0C8L32` of width 144": _conformers("conformer-H4K15R0C8L32"),
    "six `conformer-H4K15C8L32` of width 144": _conformers("conformer-H4K15C8L32"),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--chunks", nargs="+", type=int, default=[32, 128])
    parser.add_argument("--frames", type=int, default=320, help="Of the utterance")
    parser.add_argument("--repeat", type=int, default=10)
    args = parser.parse_args()
    torch.manual_seed(0)
    noise = torch.randn(1, args.frames, INPUT_SIZE).numpy()
    lines = []
    for name, conf in ENCODERS.items():
        encoder = STNASEncoder(INPUT_SIZE, **conf).eval()
        modules = {0: ExportedEncoder(encoder, INPUT_SIZE)}
        for chunk in args.chunks:
            model = SimpleNamespace(encoder=encoder)
            modules[chunk] = StreamingStep(model, "frames", INPUT_SIZE, chunk)
        runners = {
            chunk: onnx_runner(_file(module), threads=1)
            for chunk, module in modules.items()
        }
        tasks = {
            str(chunk): lambda run=run: run(noise) for chunk, run in runners.items()
        }
        times = interleaved(tasks, args.repeat, torch.device("cpu"))
        for chunk in args.chunks:
            runner = runners[chunk]
            assert isinstance(runner, ChunkRunner)
            whole, parts = (
                1000 * statistics.median(times[str(key)]) for key in (0, chunk)
            )
            calls = len(runner.seconds) / (args.repeat + 1)
            numbers = (parts / calls, parts, whole)
            lines.append(
                [
                    name,
                    str(chunk),
                    *(f"{ms:.2f}" for ms in numbers),
                    f"{parts / whole:.1f}",
                ]
            )
    header = ["encoder", "frames a chunk", "ms a call", "ms an utterance"]
    print(markdown_table([*header, "at once", "times"], lines))


def _file(module: Any) -> bytes:
    return onnx_bytes(export_program(module), module, module.metadata())


if __name__ == "__main__":
    main()
