"""Quantises ONNX models: weights of 8 bits, by onnxruntime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import one_line

# The front end computes powers over many orders of magnitude, for which 8 bits are too
# few. Its constants have these names, since it is this module of a recogniser.
_KEPT = "frontend."
_QUANTISED = ("MatMulInteger", "ConvInteger")


def int8_bytes(model: bytes, required: bool = True) -> bytes:
    """Return an ONNX model with weights of 8 bits, except for its front end.

    Activations are quantised for each input (onnxruntime's dynamic quantisation).

    Args:
        model: A file from :func:`espnet_stnas.export.program.onnx_bytes`.
        required: Refuse a model in which onnxruntime finds nothing to quantise.

    Raises:
        ConfigError: If packages are missing, or onnxruntime cannot quantise the model.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ConfigError(
            "int8 needs the packages onnx and onnxruntime (pip install "
            f"'espnet-stnas[export]'): {one_line(error)}"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        plain, shapes, small = (Path(folder) / f"{n}.onnx" for n in ("a", "b", "c"))
        plain.write_bytes(model)
        try:
            # Symbolic shape inference fails on the lengths of torch's exporter.
            quant_pre_process(plain, shapes, skip_symbolic_shape=True)
            quantize_dynamic(
                shapes,
                small,
                # Signed weights overflow on processors without 8-bit dot products.
                weight_type=QuantType.QUInt8,
                nodes_to_exclude=_front_end(onnx.load(shapes)),
            )
        except Exception as error:  # of many kinds
            raise ConfigError(
                "onnxruntime cannot quantise this model: "
                f"{type(error).__name__}: {one_line(error)[:500]}"
            ) from error
        found = onnx.load(small)
    if required and not any(node.op_type in _QUANTISED for node in found.graph.node):
        raise ConfigError(
            "onnxruntime quantises none of this model's operations; accepted with "
            "--int8 are models with convolutions or products of matrices"
        )
    # Quantisation drops what the model says about itself.
    have = {prop.key for prop in found.metadata_props}
    for prop in onnx.load_model_from_string(model).metadata_props:
        if prop.key not in have:
            found.metadata_props.add(key=prop.key, value=prop.value)
    return found.SerializeToString()


def _front_end(model: Any) -> list[str]:
    """Return the names of the nodes that have constants of the front end."""
    return [
        node.name
        for node in model.graph.node
        if any(name.startswith(_KEPT) for name in node.input)
    ]
