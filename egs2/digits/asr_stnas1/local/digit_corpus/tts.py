"""Connected digits spoken by eSpeak NG with many voices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from digit_corpus.digits import (
    WORDS,
    Utterance,
    digit_strings,
    rng_for,
    surround,
    to_pcm,
)
from digit_corpus.espeak import Espeak, Voice

# Variants of the English voice. Left out: whispers, croaks, robots, echoes and copies
# of the default. Variants that sound nearly alike share a set (compared by their mean
# log-mel spectra), so that a good score on dev or test needs unseen voices.
VOICES: dict[str, tuple[str, ...]] = {
    "train": tuple(
        "m1 m3 m4 m7 m8 f1 f2 f4 f5 Alex Alicia Annie Denis Diogo Gene Hugo Jacky "
        "Mario Michael Mike Nguyen aunty benjamin ed edward2 gustave klatt4 klatt5 "
        "klatt6 linda marcelo max michel paul pedro quincy steph victor".split()
    ),
    "dev": ("belinda", "antonio", "m6", "mike2", "sandro"),
    "test": tuple("f3 m2 m5 Andrea Marco david pablo rob robert shelby".split()),
}
SPEAKERS_PER_VOICE = 4


@dataclass(frozen=True)
class Style:
    """Ranges (from, to) that a variant of the corpus draws from.

    Args:
        snr_db: Signal-to-noise ratio in dB.
        tempo: Factor on the speaker's rate.
        word_gap: Pause between digits, both ends included, in units of 10 ms.
        silence: Seconds before and after the speech.
    """

    snr_db: tuple[float, float]
    tempo: tuple[float, float]
    word_gap: tuple[int, int]
    silence: tuple[float, float]


STYLES = {
    "clean": Style((15, 30), (0.9, 1.1), (1, 8), (0.1, 0.4)),
    "hard": Style((0, 15), (0.75, 1.4), (0, 1), (0.05, 0.25)),
}


class TtsCorpus:
    """Synthetic digit strings; the voices of train, dev and test are disjoint.

    Each utterance depends on seed, variant, set and position only. The bits are the
    same wherever the versions of eSpeak NG, numpy and scipy are.

    Args:
        variant: ``clean`` or ``hard``.
        seed: Not negative.
        sample_rate: Of the utterances, in Hz.

    Raises:
        ImportError: espeakng-loader is not installed or lacks a voice.
    """

    def __init__(self, variant: str, seed: int, sample_rate: int) -> None:
        self._style = STYLES[variant]
        self._variant = variant
        self._seed = seed
        self._sample_rate = sample_rate
        self._espeak = Espeak()
        wanted = {name for names in VOICES.values() for name in names}
        if missing := sorted(wanted - self._espeak.variants):
            raise ImportError(
                f"The installed espeakng-loader lacks the voices {', '.join(missing)}; "
                "version 0.2.4 has them."
            )

    def facts(self) -> dict[str, Any]:
        """The version of eSpeak NG."""
        return {"espeak_ng": self._espeak.version()}

    def utterances(self, set_name: str) -> Iterator[Utterance]:
        """Endless utterances of a set, taking turns between voices, then speakers."""
        voices = VOICES[set_name]
        for index, digits in enumerate(digit_strings(self._seed, set_name)):
            turn, voice = divmod(index, len(voices))
            yield self._utterance(
                index, digits, voices[voice], turn % SPEAKERS_PER_VOICE
            )

    def _utterance(
        self, index: int, digits: tuple[int, ...], variant: str, number: int
    ) -> Utterance:
        # Variants belong to one set, so (variant, index) names an utterance.
        rng = rng_for(self._seed, "tts", self._variant, variant, index)
        speech = self._speak(digits, self._voice(variant, number, rng), rng)
        snr_db = float(rng.uniform(*self._style.snr_db))
        samples = surround(speech, self._sample_rate, self._style.silence, snr_db, rng)
        peak = 10 ** (rng.uniform(-12, -1) / 20)
        samples *= peak / np.abs(samples).max()
        spk_id = f"{variant}-{number}"
        return Utterance(
            f"{spk_id}-{index:06d}", spk_id, digits, to_pcm(samples, rng), snr_db
        )

    def _voice(self, variant: str, number: int, rng: np.random.Generator) -> Voice:
        """The speaker's own pitch and rate, with the tempo of one utterance."""
        speaker = rng_for(self._seed, "speaker", variant, number)
        pitch, pitch_range = speaker.integers(30, 71), speaker.integers(20, 81)
        rate = speaker.uniform(140, 200) * rng.uniform(*self._style.tempo)
        gap = rng.integers(*self._style.word_gap, endpoint=True)
        return Voice(
            f"en+{variant}", round(rate), int(pitch), int(pitch_range), int(gap)
        )

    def _speak(
        self, digits: tuple[int, ...], voice: Voice, rng: np.random.Generator
    ) -> np.ndarray:
        text = " ".join(WORDS[digit] for digit in digits)
        speech, rate = self._espeak.synthesise(text, voice, int(rng.integers(2**31)))
        factor = gcd(rate, self._sample_rate)
        speech = resample_poly(speech, self._sample_rate // factor, rate // factor)
        loud = np.flatnonzero(np.abs(speech) > 1e-3 * np.abs(speech).max())
        return speech[loud[0] : loud[-1] + 1]
