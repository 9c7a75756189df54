"""Operations of the encoder, built from their specs; one file per family."""

from __future__ import annotations

import importlib

from espnet_stnas.notation.spec import ChainSpec, OpSpec
from espnet_stnas.ops.base import Operation

__all__ = ["Operation", "build_operation"]


def build_operation(
    spec: OpSpec, input_width: int, width: int, dropout_rate: float
) -> Operation:
    """Build the module of an operation.

    Args:
        spec: The operation with its options.
        input_width: Dimensions of an input frame.
        width: Dimensions of an output frame, unless the spec gives its own.
        dropout_rate: Dropout probability of operations that have dropout.
    """
    module, _, name = spec.family.module.partition(":")
    operation = getattr(importlib.import_module(module), name)
    if isinstance(spec, ChainSpec):
        parts = []
        sizes = input_width
        for part in spec.parts:
            parts.append(build_operation(part, sizes, width, dropout_rate))
            sizes = parts[-1].output_width
        return operation(spec, parts)
    return operation(
        spec,
        input_width=input_width,
        output_width=spec.output_width(input_width, width),
        dropout_rate=dropout_rate,
    )
