"""Fixed encoders and layers without what exporters do not support."""

from __future__ import annotations

import copy
from typing import Any

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.network.network import Network, NetworkLayer
from espnet_stnas.ops.deltas import Deltas
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.rnn import Recurrent

# Sizes of the traced example. Sizes of a network are unlikely to equal them.
_BATCH, _FRAMES = 3, 211


class Exportable(torch.nn.Module):
    """A module whose first two inputs and outputs are utterances and lengths (B,)."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: tuple[str, ...]
    """Names of the operations inside, for messages."""

    def example(self, batch: int, frames: int) -> torch.Tensor:
        """Return random input for so many frames of features."""
        raise NotImplementedError

    def metadata(self) -> dict[str, str]:
        """Return what the file says about itself because of this module."""
        return {}

    def call(self) -> tuple[tuple[torch.Tensor, ...], Any]:
        """Return inputs to trace with (any shape), and which of their sizes may change.

        The form of the latter is that of ``dynamic_shapes`` in ``torch.export``.
        """
        given = self.example(_BATCH, _FRAMES)
        length = given.size(1)
        auto = torch.export.Dim.AUTO
        lengths = torch.arange(length, length - _BATCH, -1)
        return (given, lengths), ({0: auto, 1: auto}, {0: auto})


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
        self.network = fixed_network(encoder)
        # This replaces the cut to the longest utterance.
        self.network.zero_input = zero_padding  # type: ignore
        _replace(self.network)
        self.input_size = input_size
        self.operations = operations_of(self.network)

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


def fixed_network(encoder: STNASEncoder) -> Network:
    """Return a copy of the network of an encoder, in evaluation.

    Args:
        encoder: A fixed encoder.

    Raises:
        ConfigError: If it is a supernet.
    """
    if not encoder.space.is_architecture:
        raise ConfigError(
            f"the encoder has {len(encoder.space.choices)} choices left; accepted "
            "for export is an architecture, as stnas derive writes it"
        )
    return copy.deepcopy(encoder.network).eval()


def operations_of(network: Network) -> tuple[str, ...]:
    """Return the names of a network's operations, each once."""
    found = (str(layer.candidates[0]) for layer in network.space.layers)
    return tuple(dict.fromkeys(found))


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
            setattr(module, name, IndexedDeltas(child))
        else:
            _replace(child)


class IndexedDeltas(torch.nn.Module):
    """Time derivatives without padded convolutions, which ONNX does not have.

    Args:
        operation: The operation.
    """

    def __init__(self, operation: Deltas) -> None:
        super().__init__()
        self.order = int(operation.spec.options["order"] or 0)

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append derivatives to frames (B, T, D) of lengths (B,)."""
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
