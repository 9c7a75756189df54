"""An encoder with a CTC output, its loss and its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import torch
import torch.nn.functional as F

from lab.corpus import BLANK, Batch, Corpus


class Recogniser(torch.nn.Module):
    """An encoder, a linear layer and CTC over characters.

    Args:
        encoder: Maps frames (B, T, D) and lengths (B,) to frames (B, T', D') and
            lengths (B,).
        width: Dimensions D' of its output.
        corpus: Gives the characters.
    """

    def __init__(self, encoder: torch.nn.Module, width: int, corpus: Corpus) -> None:
        super().__init__()
        self.encoder = encoder
        self.output = torch.nn.Linear(width, len(corpus.characters))
        self.characters = corpus.characters

    def log_probabilities(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log probabilities (B, T', V) and their lengths (B,)."""
        ys, olens = self.encoder(batch.frames, batch.lengths)[:2]
        return F.log_softmax(self.output(ys), dim=2), olens

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the CTC loss () of a batch: a mean over utterances, as in ESPnet."""
        return self.loss(*self.log_probabilities(batch), batch) / len(batch.lengths)

    def loss(
        self, log_p: torch.Tensor, olens: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        """Return the sum () of the utterances' losses, given (B, T', V) and (B,)."""
        return self.losses(log_p, olens, batch).sum()

    @staticmethod
    def losses(log_p: torch.Tensor, olens: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the loss (B,) of each utterance, given (B, T', V) and (B,)."""
        return F.ctc_loss(
            log_p.transpose(0, 1),
            batch.tokens,
            olens,
            batch.token_lengths,
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        )

    def read(self, log_p: torch.Tensor, olens: torch.Tensor) -> list[str]:
        """Return the greedy transcripts of log probabilities (B, T', V)."""
        texts = []
        for best, length in zip(log_p.argmax(dim=2), olens.tolist(), strict=True):
            tokens = torch.unique_consecutive(best[:length]).tolist()
            texts.append("".join(self.characters[t] for t in tokens if t != BLANK))
        return texts


@dataclass(frozen=True)
class Quality:
    """How well a recogniser does on a part of a corpus.

    Args:
        loss: CTC loss per utterance.
        wer: Word error rate in percent.
        cer: Character error rate in percent.
    """

    loss: float
    wer: float
    cer: float


def evaluate(model: Recogniser, batches: Sequence[Batch]) -> Quality:
    """Evaluate with greedy decoding, in evaluation mode."""
    mode = model.training
    model.eval()
    loss = 0.0
    said: list[str] = []
    found: list[str] = []
    with torch.no_grad():
        for batch in batches:
            log_p, olens = model.log_probabilities(batch)
            loss += float(model.loss(log_p, olens, batch))
            said += batch.texts
            found += model.read(log_p, olens)
    model.train(mode)
    return Quality(
        loss / len(said), 100 * jiwer.wer(said, found), 100 * jiwer.cer(said, found)
    )
