"""What the digit corpora share: strings, seeds, signal steps and data directories."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from tqdm import tqdm

from espnet_stnas.files import writing

SETS = ("train", "dev", "test")
WORDS = tuple("zero one two three four five six seven eight nine".split())
SHORTEST, LONGEST = 3, 7  # digits in a string
MANIFEST = "corpus.json"


@dataclass(frozen=True)
class Utterance:
    """One recording of a digit string.

    Args:
        utt_id: Starts with ``spk_id`` and a hyphen, so that Kaldi's sorting holds.
        spk_id: Speaker.
        digits: What is said, 0 to 9.
        samples: 16-bit PCM (time,), int16.
        snr_db: Signal-to-noise ratio in dB; None where no noise was added.
    """

    utt_id: str
    spk_id: str
    digits: tuple[int, ...]
    samples: np.ndarray
    snr_db: float | None

    @property
    def text(self) -> str:
        """The transcript in lower case, such as ``three one four``."""
        return " ".join(WORDS[digit] for digit in self.digits)


class Corpus(Protocol):
    """A source of utterances for the sets of a corpus."""

    def utterances(self, set_name: str) -> Iterator[Utterance]:
        """Endless utterances of a set; the first n never depend on how many follow."""

    def facts(self) -> dict[str, Any]:
        """What to note in the manifest about where the speech came from."""


def rng_for(seed: int, *keys: str | int) -> np.random.Generator:
    """Random numbers of their own for one purpose, whatever else was drawn before."""
    numbers = (zlib.crc32(k.encode()) if isinstance(k, str) else k for k in keys)
    return np.random.default_rng([seed, *numbers])


def deck(cards: Sequence[int], rng: np.random.Generator) -> Iterator[int]:
    """Deal cards for ever, each one as often as the others, reshuffled each round."""
    while True:
        yield from (cards[i] for i in rng.permutation(len(cards)))


def digit_strings(seed: int, set_name: str) -> Iterator[tuple[int, ...]]:
    """Endless strings of 3 to 7 digits, in which all digits are equally frequent."""
    rng = rng_for(seed, "strings", set_name)
    # Five of each: equal digits may follow each other, counts stay within five.
    cards = deck(tuple(range(10)) * 5, rng)
    while True:
        yield tuple(islice(cards, int(rng.integers(SHORTEST, LONGEST + 1))))


def add_noise(
    samples: np.ndarray, power: float, snr_db: float, rng: np.random.Generator
) -> np.ndarray:
    """Add stationary noise whose spectrum lies between white and pink.

    Args:
        samples: Signal (time,).
        power: Mean square of its speech, without the silence around it.
        snr_db: Power of the speech over power of the noise, in dB.
        rng: Draws the noise and its colour.

    Returns:
        The noisy signal (time,).
    """
    size = next_fast_len(len(samples), real=True)
    frequency = np.maximum(rfftfreq(size), 1.0 / size)
    spectrum = rfft(rng.standard_normal(size)) * frequency ** (-rng.uniform(0, 0.5))
    noise = irfft(spectrum, size)[: len(samples)]
    noise *= np.sqrt(power / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return samples + noise


def surround(
    speech: np.ndarray,
    sample_rate: int,
    silence: tuple[float, float],
    snr_db: float | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Put silence of random length around speech, then noise over all of it.

    Args:
        speech: Samples (n,).
        sample_rate: In Hz.
        silence: Shortest and longest silence on each side, in seconds.
        snr_db: Ratio of the powers of speech and noise in decibels; None for no noise.
        rng: Source of all random draws.
    """
    lead, trail = (round(sample_rate * rng.uniform(*silence)) for _ in range(2))
    samples = np.pad(speech, (lead, trail))
    if snr_db is None:
        return samples
    return add_noise(samples, float(np.mean(speech**2)), snr_db, rng)


def to_pcm(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Round samples (time,) to int16, scaled down where they would clip.

    Dither of one step keeps digital silence, whose log spectrum has no bottom, out
    of the features.
    """
    samples = samples / max(1.0, np.abs(samples).max(initial=0.0) / 0.99)
    dither = rng.random((2, len(samples)))
    return np.rint(samples * 32767 + dither[0] - dither[1]).astype(np.int16)


def write_set(
    target: Path,
    utterances: Iterator[Utterance],
    minutes: float,
    sample_rate: int,
    manifest: Mapping[str, Any],
) -> None:
    """Write a Kaldi-style data directory, or nothing at all.

    Args:
        target: The directory to create; wav.scp names its files as given here.
        utterances: Taken until they are as long as wanted.
        minutes: Least duration of the set.
        sample_rate: Of the samples, in Hz.
        manifest: What ``corpus.json`` records beside the sizes.

    Raises:
        WriteError: If the disk is full, or the folder cannot be written to.
    """
    _clear_left_overs(target)
    partial = target.with_name(f".{target.name}.partial.{os.getpid()}")
    logging.info("making %s", target)
    try:
        with writing(target):
            wav = partial / "wav"
            wav.mkdir(parents=True)
        done, seconds = _write_audio(wav, utterances, minutes, sample_rate)
        sizes = {"utterances": len(done), "seconds": round(seconds, 3)}
        text = json.dumps({**manifest, "sizes": sizes}, indent=2)
        with writing(target):
            _write_tables(partial, target, done)
            (partial / MANIFEST).write_text(text + "\n", encoding="utf-8")
            partial.rename(target)
    except BaseException:  # also when interrupted: leave nothing half-written
        shutil.rmtree(partial, ignore_errors=True)
        raise
    logging.info("%s: %d utterances, %.1f min", target, len(done), seconds / 60)


def _clear_left_overs(target: Path) -> None:
    """Remove what runs that were killed left of a directory.

    Raises:
        ValueError: If a run that lives is making it right now.
    """
    for left_over in target.parent.glob(f".{target.name}.partial.*"):
        number = left_over.suffix[1:]
        if number.isdecimal() and _lives(int(number)):
            raise ValueError(
                f"{target} is being made by process {number} right now; wait for it, "
                "or stop it first"
            )
        shutil.rmtree(left_over)


def _lives(process: int) -> bool:
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        # Of somebody else, or no number of a process.
        return process < 2**31
    return True


def _write_audio(
    folder: Path, utterances: Iterator[Utterance], minutes: float, sample_rate: int
) -> tuple[dict[str, tuple[str, str]], float]:
    """Write wav files; returns {utt_id: (spk_id, text)} and the seconds written."""
    done: dict[str, tuple[str, str]] = {}
    samples, wanted = 0, minutes * 60 * sample_rate
    # disable=None: not where nobody sees it move.
    with tqdm(
        total=round(wanted / sample_rate),
        desc=folder.parent.name.split(".")[1],
        unit=" s of speech",
        leave=False,
        disable=None,
    ) as progress:
        while samples < wanted:
            utt = next(utterances)
            # soundfile does not tell that the disk is full, but Python does.
            wav = io.BytesIO()
            soundfile.write(wav, utt.samples, sample_rate, "PCM_16", format="WAV")
            path = folder / f"{utt.utt_id}.wav"
            with writing(path):
                path.write_bytes(wav.getvalue())
            done[utt.utt_id] = (utt.spk_id, utt.text)
            samples += len(utt.samples)
            progress.update(min(samples, wanted) / sample_rate - progress.n)
    return done, samples / sample_rate


def _write_tables(
    folder: Path, target: Path, done: Mapping[str, tuple[str, str]]
) -> None:
    rows: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
    members: dict[str, list[str]] = {}
    for utt_id, (spk_id, text) in sorted(done.items()):
        rows["wav.scp"].append(f"{utt_id} {target.as_posix()}/wav/{utt_id}.wav")
        rows["text"].append(f"{utt_id} {text}")
        rows["utt2spk"].append(f"{utt_id} {spk_id}")
        members.setdefault(spk_id, []).append(utt_id)
    rows["spk2utt"] = [f"{s} {' '.join(utts)}" for s, utts in sorted(members.items())]
    for name, lines in rows.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
