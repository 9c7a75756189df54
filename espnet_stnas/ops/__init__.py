"""Operations of the encoder: one family a file, built from its spec."""

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
        spec: Which operation.
        input_width: Dimensions of a frame that goes in.
        width: Dimensions of a frame that comes out, unless the spec says.
        dropout_rate: Probability of dropping an output, for operations that do.
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
