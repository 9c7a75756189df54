"""Exports fixed encoders as ONNX or as a program of torch.export."""

from __future__ import annotations

import copy
import io

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, write_bytes
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.messages import one_line
from espnet_stnas.ops.deltas import Deltas
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.rnn import Recurrent

INPUTS = ("frames", "lengths")
OUTPUTS = ("encoded", "encoded_lengths")
# Sizes of the traced example. Sizes of a network are unlikely to equal them.
_BATCH, _FRAMES = 3, 211


class ExportedEncoder(torch.nn.Module):
    """An encoder in evaluation mode, without code that depends on the data in a batch.

    The output is the same, except that trailing frames without any utterance stay in
    place.

    Args:
        encoder: A fixed encoder.

    Raises:
        ConfigError: If it is a supernet, or has recurrent layers.
    """

    def __init__(self, encoder: STNASEncoder) -> None:
        super().__init__()
        if not encoder.space.is_architecture:
            raise ConfigError(
                f"the encoder has {len(encoder.space.choices)} choices left; accepted "
                "for export is an architecture, as stnas derive writes it"
            )
        self.network = copy.deepcopy(encoder.network).eval()
        # This replaces the cut to the longest utterance.
        self.network.zero_input = zero_padding  # type: ignore
        _replace(self.network)

    def forward(
        self, frames: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode frames (B, T, D) with their valid lengths (B,)."""
        return self.network(frames, lengths)


def export_program(
    encoder: STNASEncoder, input_size: int
) -> torch.export.ExportedProgram:
    """Trace an encoder to a program for batches and utterances of any size.

    Args:
        encoder: A fixed encoder.
        input_size: Dimensions of an input frame.

    Raises:
        ConfigError: If the encoder is a supernet, or torch cannot export it.
    """
    module = ExportedEncoder(encoder)
    example = (
        torch.randn(_BATCH, _FRAMES, input_size),
        torch.arange(_FRAMES, _FRAMES - _BATCH, -1),
    )
    auto = torch.export.Dim.AUTO
    try:
        with torch.no_grad():
            return torch.export.export(
                module,
                example,
                dynamic_shapes=({0: auto, 1: auto}, {0: auto}),
                strict=False,
            )
    except Exception as error:  # of many kinds
        names = dict.fromkeys(str(la.candidates[0]) for la in encoder.space.layers)
        raise ConfigError(
            f"this torch ({torch.__version__}) cannot export the operations "
            f"{', '.join(names)}: {type(error).__name__}: {one_line(error)}"
        ) from error


def write_program(program: torch.export.ExportedProgram, path: PathLike) -> None:
    """Write a program; ``torch.export.load`` reads it."""
    data = io.BytesIO()
    torch.export.save(program, data)
    write_bytes(path, data.getvalue())


def write_onnx(program: torch.export.ExportedProgram, path: PathLike) -> None:
    """Write a program as an ONNX model with inputs and outputs of any size.

    The inputs are ``frames`` (B, T, D) and ``lengths`` (B,); the outputs are
    ``encoded`` (B, T', D') and ``encoded_lengths`` (B,).

    Args:
        program: A program from :func:`export_program`.
        path: File to write.

    Raises:
        ConfigError: If the package onnxscript is missing, or ONNX lacks an operation.
    """
    try:
        model = torch.onnx.export(
            program,
            (),
            dynamo=True,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            verbose=False,
        )
    except (ImportError, torch.onnx.OnnxExporterError) as error:
        raise ConfigError(
            "the encoder cannot be written as ONNX (packages: pip install "
            f"'espnet-stnas[export]'): {type(error).__name__}: {one_line(error)}"
        ) from error
    assert model is not None
    write_bytes(path, model.model_proto.SerializeToString())


def _replace(module: torch.nn.Module) -> None:
    """Replace the modules that exporters do not support."""
    for name, child in list(module.named_children()):
        if isinstance(child, Recurrent):
            raise ConfigError(
                f"operation '{child.spec}' cannot be exported, since torch unrolls "
                "recurrent layers over the frames of its example; accepted are all "
                "operations but lstm, blstm, gru and bgru"
            )
        if isinstance(child, Deltas):
            setattr(module, name, _IndexedDeltas(child))
        else:
            _replace(child)


class _IndexedDeltas(torch.nn.Module):
    """Time derivatives without padded convolutions, which ONNX does not have."""

    def __init__(self, operation: Deltas) -> None:
        super().__init__()
        self.order = int(operation.spec.options["order"] or 0)

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        frames = torch.arange(xs_pad.size(1), device=xs_pad.device).unsqueeze(0)
        last = (ilens - 1).clamp(min=0).unsqueeze(1)
        parts = [xs_pad]
        for _ in range(self.order):
            slope = torch.zeros_like(xs_pad)
            for step in (1, 2):
                after, before = (
                    parts[-1].gather(1, _expanded(frames + way * step, last, xs_pad))
                    for way in (1, -1)
                )
                slope = slope + step * (after - before) / 10
            parts.append(slope)
        return torch.cat(parts, dim=2), ilens


def _expanded(
    frames: torch.Tensor, last: torch.Tensor, like: torch.Tensor
) -> torch.Tensor:
    """Return indices (B, T, D) of frames, limited to the first and last valid frame."""
    index = torch.minimum(frames, last).clamp(min=0)
    return index.unsqueeze(2).expand(-1, -1, like.size(2))
