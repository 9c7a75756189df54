"""Traces modules, and writes them as ONNX or as a program of torch.export."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.export.encoder import Exportable
from espnet_stnas.messages import one_line

METADATA_FILE = "metadata.json"


def export_program(module: Exportable) -> torch.export.ExportedProgram:
    """Trace a module to a program.

    Args:
        module: What to export.

    Raises:
        ConfigError: If torch cannot export it.
    """
    example, dynamic = module.call()
    try:
        with torch.no_grad():
            return torch.export.export(
                module,
                example,
                dynamic_shapes=dynamic,
                strict=False,
            )
    except Exception as error:  # of many kinds
        raise ConfigError(
            f"this torch ({torch.__version__}) cannot export the operations "
            f"{', '.join(module.operations)}: {type(error).__name__}: {one_line(error)}"
        ) from error


def program_bytes(
    program: torch.export.ExportedProgram, metadata: Mapping[str, str]
) -> bytes:
    """Return the file of a program; ``torch.export.load`` reads it.

    Args:
        program: A program from :func:`export_program`.
        metadata: Texts, which go into the extra file ``metadata.json``.
    """
    data = io.BytesIO()
    extra = {METADATA_FILE: json.dumps(dict(metadata))}
    torch.export.save(program, data, extra_files=extra)
    return data.getvalue()


def onnx_bytes(
    program: torch.export.ExportedProgram,
    module: Exportable,
    metadata: Mapping[str, str],
) -> bytes:
    """Return a program as an ONNX model.

    Args:
        program: A program from :func:`export_program`.
        module: What was exported; it names inputs and outputs.
        metadata: Texts, which onnxruntime gives as ``custom_metadata_map``.

    Raises:
        ConfigError: If the package onnxscript is missing, or ONNX lacks an operation.
    """
    # The exporter warns of packages and functions that this model does not use.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            model = torch.onnx.export(
                program,
                (),
                dynamo=True,
                input_names=list(module.inputs),
                output_names=list(module.outputs),
                verbose=False,
            )
    except (ImportError, torch.onnx.OnnxExporterError) as error:
        raise ConfigError(
            "the model cannot be written as ONNX (packages: pip install "
            f"'espnet-stnas[export]'): {type(error).__name__}: {one_line(error)}"
        ) from error
    assert model is not None
    proto: Any = model.model_proto
    _name_dimensions(proto.graph)
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    return proto.SerializeToString()


def _name_dimensions(graph: Any) -> None:
    """Name the dimensions of inputs and outputs, which torch numbers."""
    for values, time in ((graph.input, "time"), (graph.output, "frames")):
        for value in values:
            dimensions = value.type.tensor_type.shape.dim
            for dimension, name in zip(dimensions[:2], ("batch", time), strict=False):
                if dimension.dim_param:
                    dimension.dim_param = name
    # What is known of the values inside refers to torch's numbers.
    del graph.value_info[:]
