"""A whole recogniser without code of ESPnet: speech in, CTC log-probabilities out."""

from __future__ import annotations

import copy
from typing import Any

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.export.encoder import Exportable, ExportedEncoder
from espnet_stnas.export.features import LogMel, build_features, build_norm
from espnet_stnas.messages import quote


class ExportedRecogniser(Exportable):
    """Front end, normalisation, encoder and CTC output of a model, in evaluation mode.

    What it computes for an utterance does not depend on the rest of the batch, and
    equals what ESPnet computes for this utterance alone.

    Args:
        model: A model of ESPnet's ASR with the encoder ``stnas``.
        given: What goes in: ``speech`` or ``features``.
        input_size: Dimensions of a frame of features.

    Raises:
        ConfigError: If a part of the model cannot be exported.
    """

    outputs = ("log_probs", "log_probs_lengths")

    def __init__(self, model: Any, given: str, input_size: int) -> None:
        super().__init__()
        self.output = ctc_output(model)
        if given == "speech" and model.frontend is None:
            raise ConfigError(
                "input is 'speech', and the training has no front end; accepted is "
                "'features'"
            )
        self.inputs = given, f"{given}_lengths"
        self.frontend = build_features(model.frontend) if given == "speech" else None
        self.norm = None if model.normalize is None else build_norm(model.normalize)
        self.encoder = ExportedEncoder(model.encoder, input_size)
        self.operations = self.encoder.operations
        self.eval()

    def forward(
        self, given: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Recognise.

        Args:
            given: Samples (B, S), from -1 to 1, or features (B, T, D).
            lengths: Their valid lengths (B,).

        Returns:
            Log-probabilities (B, T', V) and their valid lengths (B,).
        """
        if self.frontend is not None:
            given, lengths = self.frontend(given, lengths)
        if self.norm is not None:
            given = self.norm(given, lengths)
        encoded, lengths = self.encoder(given, lengths)
        return self.output(encoded).log_softmax(dim=2), lengths

    def example(self, batch: int, frames: int) -> torch.Tensor:
        """Return random input for so many frames of features."""
        if not isinstance(self.frontend, LogMel):
            return self.encoder.example(batch, frames)
        return 0.1 * torch.randn(batch, self.frontend.samples(frames))


def ctc_output(model: Any) -> torch.nn.Module:
    """Return a copy of the linear layer of CTC, which the encoder's frames go into.

    Args:
        model: A model of ESPnet's ASR.

    Raises:
        ConfigError: If there is none, or something stands before or behind the encoder.
    """
    if model.ctc is None:
        raise ConfigError(
            "the model has no CTC output (ctc_weight is 0); accepted are trainings "
            "with ctc_weight above 0, or --encoder_only"
        )
    for name in ("preencoder", "postencoder"):
        part = getattr(model, name)
        if part is not None:
            raise ConfigError(
                f"the model has the {name} {quote(type(part).__name__)}; accepted "
                "for export is none, or --encoder_only"
            )
    return copy.deepcopy(model.ctc.ctc_lo)
