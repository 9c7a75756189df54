"""A corpus as features and characters in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import soundfile
import torch
from espnet2.asr.frontend.default import DefaultFrontend
from espnet2.layers.utterance_mvn import UtteranceMVN

from espnet_stnas.files import read_kaldi_text

BLANK = 0
MELS = 40


@dataclass(frozen=True)
class Utterance:
    """One utterance.

    Args:
        frames: Features (T, D).
        tokens: Characters as numbers (U,); 0 is the blank of CTC.
        text: Its words.
    """

    frames: torch.Tensor
    tokens: torch.Tensor
    text: str


@dataclass(frozen=True)
class Batch:
    """Utterances of similar length.

    Args:
        frames: Features (B, T, D), zero where padded.
        lengths: Valid frames (B,).
        tokens: Characters (B, U), zero where padded.
        token_lengths: Characters of each utterance (B,).
        texts: Words of each utterance.
    """

    frames: torch.Tensor
    lengths: torch.Tensor
    tokens: torch.Tensor
    token_lengths: torch.Tensor
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Corpus:
    """The parts ``train``, ``dev`` and ``test`` of a corpus.

    Args:
        parts: Utterances of each part.
        characters: The character of each token number; the first is the blank.
    """

    parts: dict[str, tuple[Utterance, ...]]
    characters: tuple[str, ...]

    @property
    def input_size(self) -> int:
        """Dimensions of a frame."""
        return self.parts["train"][0].frames.size(1)


def read_corpus(directory: Path, cache: Path) -> Corpus:
    """Read a corpus in Kaldi's form, or its features from the cache.

    Features are those of the digits recipe: 40 log mel energies every 10 ms, with mean
    and variance normalised over each utterance.

    Args:
        directory: Has ``train``, ``dev`` and ``test`` with ``wav.scp`` and ``text``.
        cache: File of the features; written if it is missing.
    """
    if not cache.exists():
        texts = {
            part: read_kaldi_text(directory / part / "text", "text file")
            for part in ("train", "dev", "test")
        }
        letters = sorted({c for t in texts["train"].values() for c in t})
        parts = {
            part: _read_part(directory, part, lines, letters)
            for part, lines in texts.items()
        }
        torch.save({"parts": parts, "letters": letters}, cache)
    saved = torch.load(cache, weights_only=True)
    return Corpus(
        {
            part: tuple(Utterance(*u) for u in utterances)
            for part, utterances in saved["parts"].items()
        },
        ("", *saved["letters"]),
    )


def _read_part(
    directory: Path, part: str, texts: dict[str, str], letters: Sequence[str]
) -> list[tuple[torch.Tensor, torch.Tensor, str]]:
    numbers = {letter: number for number, letter in enumerate(letters, start=1)}
    rows = []
    for name, wav in read_kaldi_text(
        directory / part / "wav.scp", "list of audio"
    ).items():
        audio, rate = soundfile.read(directory / wav, dtype="float32")
        tokens = torch.tensor([numbers[c] for c in texts[name] if c in numbers])
        rows.append((_features(audio, rate), tokens, texts[name]))
    return rows


def _features(audio: numpy.ndarray, rate: int) -> torch.Tensor:
    length = torch.tensor([len(audio)])
    # 25 ms of each 10 ms, as in the recipes.
    frontend = DefaultFrontend(
        fs=rate,
        n_fft=256 * rate // 8000,
        win_length=rate // 40,
        hop_length=rate // 100,
        n_mels=MELS,
    )
    with torch.no_grad():
        frames, lengths = frontend(torch.from_numpy(audio)[None], length)
        frames, _ = UtteranceMVN(norm_means=True, norm_vars=True)(frames, lengths)
    return frames[0].clone()


def make_batches(utterances: Sequence[Utterance], frames: int) -> list[Batch]:
    """Put utterances of similar length into batches.

    Args:
        utterances: The utterances.
        frames: Most frames of a batch, with padding.
    """
    batches: list[list[Utterance]] = [[]]
    for utterance in sorted(utterances, key=lambda u: len(u.frames)):
        if (len(batches[-1]) + 1) * len(utterance.frames) > frames:
            batches.append([])
        batches[-1].append(utterance)
    return [_pad(batch) for batch in batches if batch]


def endless(batches: Sequence[Batch], seed: int) -> Iterator[Batch]:
    """Return the batches in random order, again and again."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[index]


def _pad(utterances: Sequence[Utterance]) -> Batch:
    pad = torch.nn.utils.rnn.pad_sequence
    return Batch(
        pad([u.frames for u in utterances], batch_first=True),
        torch.tensor([len(u.frames) for u in utterances]),
        pad([u.tokens for u in utterances], batch_first=True),
        torch.tensor([len(u.tokens) for u in utterances]),
        tuple(u.text for u in utterances),
    )
