"""Exports encoders as ONNX with weights of 8 bits, by onnxruntime."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.export.program import INPUTS, write_onnx
from espnet_stnas.files import PathLike, write_bytes
from espnet_stnas.messages import one_line

_FRAMES = 200


def write_int8(
    program: torch.export.ExportedProgram, input_size: int, path: PathLike
) -> tuple[float, float]:
    """Write a program as ONNX with weights of 8 bits, and run it once.

    Activations are quantised for each input (onnxruntime's dynamic quantisation).

    Args:
        program: A program from :func:`espnet_stnas.export.program.export_program`.
        input_size: Dimensions of an input frame.
        path: File to write.

    Returns:
        The largest difference to the floating-point output on one random input, and the
        largest absolute value of the floating-point output.

    Raises:
        ConfigError: If packages are missing, or onnxruntime cannot quantise or run the
            encoder.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ConfigError(
            "int8 needs the packages onnx and onnxruntime (pip install "
            f"'espnet-stnas[export]'): {one_line(error)}"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        plain, shapes, small = (Path(folder) / f"{n}.onnx" for n in ("a", "b", "c"))
        write_onnx(program, plain)
        try:
            # Symbolic shape inference fails on the lengths of torch's exporter.
            quant_pre_process(plain, shapes, skip_symbolic_shape=True)
            # Signed weights overflow on processors without 8-bit dot products.
            quantize_dynamic(shapes, small, weight_type=QuantType.QUInt8)
            generator = np.random.default_rng(0)
            frames = generator.standard_normal((1, _FRAMES, input_size), np.float32)
            expected, found = (_encoded(file, frames) for file in (plain, small))
        except Exception as error:  # of many kinds
            raise ConfigError(
                "onnxruntime cannot quantise this encoder: "
                f"{type(error).__name__}: {one_line(error)[:500]}"
            ) from error
        write_bytes(path, small.read_bytes())
    return float(np.abs(expected - found).max()), float(np.abs(expected).max())


def _encoded(file: Path, frames: np.ndarray) -> np.ndarray:
    """Return the output (1, T', D') of an ONNX graph for frames (1, T, D)."""
    from onnxruntime import InferenceSession

    session = InferenceSession(str(file), providers=["CPUExecutionProvider"])
    lengths = np.array([frames.shape[1]])
    return session.run(None, dict(zip(INPUTS, (frames, lengths), strict=True)))[0]
