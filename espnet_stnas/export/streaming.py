"""One call of a recogniser that runs chunk by chunk, with its state in and out."""

from __future__ import annotations

import json
from typing import Any, Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.export.encoder import Exportable, fixed_network, operations_of
from espnet_stnas.export.features import GlobalNorm, build_norm
from espnet_stnas.export.metadata import STREAMING
from espnet_stnas.export.recogniser import ctc_output
from espnet_stnas.export.step import Part
from espnet_stnas.export.steps import step_of
from espnet_stnas.network.stream import Stream
from espnet_stnas.ops.lengths import zero_padding


class StreamingStep(Exportable):
    """Normalisation, encoder and CTC output of a model, for one chunk of features.

    Args:
        model: A model of ESPnet's ASR with the encoder ``stnas``.
        given: What goes in: ``features``, or ``frames`` into the encoder alone.
        input_size: Dimensions of a frame of features.
        chunk: Frames of a chunk.

    Raises:
        ConfigError: If a part of the model cannot run chunk by chunk or be exported, or
            the chunk is no multiple of the subsampling.
    """

    def __init__(self, model: Any, given: str, input_size: int, chunk: int) -> None:
        super().__init__()
        self.norm: Optional[torch.nn.Module] = None
        self.output: Optional[torch.nn.Module] = None
        if given == "features":
            self.output = ctc_output(model)
            if model.normalize is not None:
                self.norm = build_norm(model.normalize)
        if not isinstance(self.norm, (GlobalNorm, type(None))):
            raise ConfigError(
                "normalize is 'utterance_mvn', which needs the whole utterance; "
                "accepted with --streaming are global_mvn and none"
            )
        network = fixed_network(model.encoder)
        stream = Stream(network)
        if chunk < 1 or chunk % stream.stride:
            raise ConfigError(
                f"streaming is {chunk}; accepted are multiples of {stream.stride}, the "
                "frames of features for one output frame"
            )
        self.operations = operations_of(network)
        self.input_size, self.chunk = input_size, chunk
        self.encoder = step_of(stream.form, chunk)
        self.start = self.encoder.start()
        """The state before the first frame."""
        lengths = "lengths" if given == "frames" else f"{given}_lengths"
        self.inputs = (
            *(given, lengths, "final"),
            *(f"state.{name}" for name in self.start),
        )
        result = "encoded" if given == "frames" else "log_probs"
        self.outputs = (
            *(result, f"{result}_lengths", "finished"),
            *(f"next.{name}" for name in self.start),
        )
        self.eval()
        # ESPnet's positions are computed in the first call, which torch must not trace.
        with torch.no_grad():
            self(*self.call()[0])

    def forward(
        self,
        given: torch.Tensor,
        lengths: torch.Tensor,
        final: torch.Tensor,
        *state: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Transform the next frames of an utterance.

        Args:
            given: A chunk (1, T, D).
            lengths: Valid frames in it (1,).
            final: Whether the utterance ends with them (1,).
            *state: The tensors of the state (any shape).

        Returns:
            Log-probabilities (1, T', V) or frames of the encoder, how many of them are
            valid (1,), whether no more will come (1,), and the next state.
        """
        if self.norm is not None:
            given = self.norm(given, lengths)
        part = Part(zero_padding(given, lengths), lengths, final)
        before = dict(zip(self.start, state, strict=True))
        (ys, count, finished), after = self.encoder(part, before)
        if self.output is not None:
            ys = self.output(ys).log_softmax(dim=2)
        return (ys, count, finished, *(after[name] for name in self.start))

    def example(self, batch: int, frames: int) -> torch.Tensor:
        """Return random input for so many frames of features."""
        return torch.randn(batch, frames, self.input_size)

    def call(self) -> tuple[tuple[torch.Tensor, ...], Any]:
        """Return a chunk (1, T, D) and the first state; no size may change."""
        lengths, final = torch.tensor([self.chunk]), torch.tensor([False])
        state = (value.clone() for value in self.start.values())
        return (self.example(1, self.chunk), lengths, final, *state), None

    def metadata(self) -> dict[str, str]:
        """Return what a program needs to call the file."""
        states = [
            {
                "input": f"state.{name}",
                "output": f"next.{name}",
                "shape": list(value.shape),
                "dtype": str(value.dtype).removeprefix("torch."),
            }
            for name, value in self.start.items()
        ]
        return {
            "mode": STREAMING,
            "chunk_frames": str(self.chunk),
            "states": json.dumps(states),
            "state_start": "zeros",
        }
