"""Fixed encoders and layers without what exporters do not support."""

from __future__ import annotations

import copy

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.network.network import NetworkLayer
from espnet_stnas.ops.deltas import Deltas
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.rnn import Recurrent


class Exportable(torch.nn.Module):
    """A module with two inputs and two outputs: utterances and their lengths (B,)."""

    inputs: tuple[str, str]
    outputs: tuple[str, str]
    operations: tuple[str, ...]
    """Names of the operations inside, for messages."""

    def example(self, batch: int, frames: int) -> torch.Tensor:
        """Return random input for so many frames of features."""
        raise NotImplementedError


class ExportedEncoder(Exportable):
    """An encoder in evaluation mode, without code that depends on the data in a batch.

    The output is the same, except that trailing frames without any utterance stay in
    place.

    Args:
        encoder: A fixed encoder.
        input_size: Dimensions of an input frame.

    Raises:
        ConfigError: If it is a supernet, or has recurrent layers.
    """

    inputs = ("frames", "lengths")
    outputs = ("encoded", "encoded_lengths")

    def __init__(self, encoder: STNASEncoder, input_size: int) -> None:
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
        self.input_size = input_size
        found = (str(layer.candidates[0]) for layer in encoder.space.layers)
        self.operations = tuple(dict.fromkeys(found))

    def forward(
        self, frames: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode frames (B, T, D) with their valid lengths (B,)."""
        return self.network(frames, lengths)

    def example(self, batch: int, frames: int) -> torch.Tensor:
        """Return random input for so many frames of features."""
        return torch.randn(batch, frames, self.input_size)


class ExportedLayer(Exportable):
    """A layer with one operation, in evaluation mode.

    Args:
        layer: The layer.
        input_size: Dimensions of an input frame.

    Raises:
        ConfigError: If it is recurrent.
    """

    inputs = ("frames", "lengths")
    outputs = ("encoded", "encoded_lengths")

    def __init__(self, layer: NetworkLayer, input_size: int) -> None:
        super().__init__()
        self.whole = copy.deepcopy(layer).eval()
        _replace(self.whole)
        self.input_size = input_size
        self.operations = (str(layer.layer.candidates[0]),)

    def forward(
        self, frames: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform frames (B, T, D) with their valid lengths (B,)."""
        return self.whole(frames, lengths)

    def example(self, batch: int, frames: int) -> torch.Tensor:
        """Return random input for so many frames of features."""
        return torch.randn(batch, frames, self.input_size)


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
