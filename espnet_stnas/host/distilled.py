"""The ESPnet model `distilled`: ESPnet's ASR model that learns from another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from espnet2.asr.ctc import CTC
from espnet2.asr.espnet_model import ESPnetASRModel

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.host.distillation import ctc_output, distillation_loss
from espnet_stnas.messages import quote

# Front ends of one frame rate may still differ by so many frames at the ends.
_ENDS = 2


class ESPnetDistilledModel(ESPnetASRModel):
    """ESPnet's ASR model, trained with the CTC outputs of a teacher beside its loss.

    Only training differs: inference does not need the teacher, and all weights have the
    names that they have in ``model: espnet``.

    Args:
        token_list: All symbols.
        ctc: The CTC module of ESPnet.
        distill_from: Directory of the training of the teacher, or of what ``stnas
            extract`` wrote.
        distill_weight: The part of the loss that is the divergence of the CTC outputs
            from the teacher's; the rest is ESPnet's loss.
        conf: The arguments of ESPnet's model.

    Raises:
        ConfigError: If an option cannot be honoured.
    """

    def __init__(
        self,
        *,
        token_list: list[str] | tuple[str, ...],
        ctc: CTC,
        distill_from: Any = None,
        distill_weight: Any = 0.5,
        **conf: Any,
    ) -> None:
        super().__init__(token_list=token_list, ctc=ctc, **conf)
        if not isinstance(distill_from, str):
            raise ConfigError(
                f"model_conf: distill_from is {quote(distill_from)}; model 'distilled' "
                "needs the directory of the teacher's training"
            )
        number = isinstance(distill_weight, (int, float))
        if isinstance(distill_weight, bool) or not number or not 0 < distill_weight < 1:
            raise ConfigError(
                f"model_conf: distill_weight is {quote(distill_weight)}; accepted is a "
                "number above 0 and below 1"
            )
        if self.ctc is None:
            raise ConfigError(
                "model_conf: ctc_weight is 0, so that model 'distilled' has no CTC "
                "output to compare; accepted is a number above 0, up to 1"
            )
        self.distill_from = distill_from
        self.distill_weight = distill_weight
        # In a list, so that its weights are none of this model.
        self._teacher: list[Any] = []

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Compute the loss of a batch.

        Args:
            speech: Samples or features (B, T, ...).
            speech_lengths: Their lengths (B,).
            text: Labels (B, L).
            text_lengths: Number of labels (B,).
            kwargs: The rest of the batch.

        Returns:
            Loss, values to report, and number of utterances. In training, the loss has
            the teacher's part, and ``loss_distill`` is the divergence; ``loss`` is
            ESPnet's in training and validation alike.
        """
        with ctc_output(self.ctc) as output:
            loss, stats, weight = super().forward(
                speech, speech_lengths, text, text_lengths, **kwargs
            )
        if not self.training:
            return loss, stats, weight
        teacher, lengths = self._taught(speech, speech_lengths)
        student = output.log_probabilities()
        _check_rates(output.lengths, lengths, self.distill_from)
        frames = min(student.size(1), teacher.size(1))
        divergence = distillation_loss(
            student[:, :frames],
            teacher[:, :frames],
            torch.minimum(lengths, output.lengths),
        )
        loss = (1 - self.distill_weight) * loss + self.distill_weight * divergence
        # In the form of the other values, which ESPnet averages over processes.
        stats["loss_distill"] = divergence.detach().reshape(stats["loss"].shape)
        return loss, stats, weight

    @torch.no_grad()
    def _taught(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the teacher's log probabilities (B, T, V), and their lengths (B,)."""
        if not self._teacher:
            # Building it draws weights, and training goes on as without it.
            with torch.random.fork_rng():
                self._teacher.append(_teacher(self, self.distill_from))
            self._teacher[0].to(speech.device)
        teacher = self._teacher[0]
        encoded, olens = teacher.encode(speech, lengths)
        if isinstance(encoded, tuple):  # with outputs of inner layers
            encoded = encoded[0]
        return teacher.ctc.log_softmax(encoded), olens


def _teacher(student: ESPnetASRModel, directory: str) -> Any:
    """Load a teacher.

    Raises:
        ConfigError: If there is none in the directory, or it does not suit the student.
    """
    # The task imports this module.
    from espnet_stnas.host.trained import load_model, weights_file

    weights = weights_file(directory)
    config = Path(directory) / "config.yaml"
    if "warmup_epochs" in read_yaml_mapping(config, "training config"):
        raise ConfigError(
            f"distill_from is {directory}, which holds a search; accepted is a trained "
            "model: what a training left, or stnas extract wrote"
        )
    teacher, _ = load_model(config, weights)
    if teacher.ctc is None:
        raise ConfigError(
            f"distill_from is {directory}, whose model has no CTC output (ctc_weight "
            "is 0); accepted is a model with one"
        )
    if list(teacher.token_list) != list(student.token_list):
        raise ConfigError(
            f"distill_from is {directory}, whose model has another token list "
            f"({len(teacher.token_list)} tokens there, {len(student.token_list)} "
            "here); accepted is a model with the same tokens"
        )
    return teacher


def _check_rates(ours: torch.Tensor, theirs: torch.Tensor, directory: str) -> None:
    """Check that two encoders give as many frames (B,).

    Raises:
        ConfigError: If they do not.
    """
    worst = int((ours - theirs).abs().argmax())
    if abs(int(ours[worst]) - int(theirs[worst])) > _ENDS:
        raise ConfigError(
            f"distill_from is {directory}, whose encoder has another frame rate: for "
            f"one utterance, it gives {int(theirs[worst])} frames, and the encoder "
            f"that learns {int(ours[worst])}; accepted is an encoder with the same "
            "subsampling"
        )
