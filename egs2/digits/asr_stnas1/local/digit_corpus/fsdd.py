"""Connected digits joined from the Free Spoken Digit Dataset (real speech).

Zohar Jackson et al., "Jakobovski/free-spoken-digit-dataset", licence CC BY-SA 4.0:
six speakers, fifty recordings of each digit, 8 kHz.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.signal import resample_poly

from digit_corpus.digits import (
    Utterance,
    deck,
    digit_strings,
    rng_for,
    surround,
    to_pcm,
)
from espnet_stnas.files import writing

URL = (
    "https://github.com/Jakobovski/free-spoken-digit-dataset/"
    "archive/refs/tags/v1.0.10.zip"
)
# GitHub makes the archive on demand and does not promise its bytes, so the recordings
# themselves are checked: SHA-256 of all of them, in the order of their names.
SHA256 = "ddb17656a0bca4c5ddace082be188ca630516dc2ef1110afe3c4e9cc71173de4"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
# 0-4 is the official test set.
INDICES = {"train": range(10, 50), "dev": range(5, 10), "test": range(0, 5)}
SOURCE_RATE = 8000  # Hz
PAUSE = {"clean": (0.02, 0.15), "hard": (-0.08, 0.0)}  # seconds; negative overlaps
SPEED = (0.85, 1.18)
HARD_SNR_DB = (0.0, 15.0)
SILENCE = (0.05, 0.2)  # seconds before and after the speech


def find_recordings(folder: Path) -> Path:
    """The folder with the recordings: ``folder`` itself or its ``recordings``.

    Raises:
        ValueError: It does not exist or lacks recordings.
    """
    if not folder.is_dir():
        raise ValueError(
            f"--fsdd_dir must be a folder that is, or contains, recordings/; "
            f"found {str(folder)!r}, which is no folder."
        )
    inner = folder / "recordings"
    recordings = inner if inner.is_dir() else folder
    present = {path.name for path in recordings.iterdir()}
    expected = [
        f"{digit}_{speaker}_{index}.wav"
        for speaker in SPEAKERS
        for digit in range(10)
        for index in range(50)
    ]
    if missing := [name for name in expected if name not in present]:
        raise ValueError(
            f"--fsdd_dir must hold the {len(expected)} recordings of the Free Spoken "
            f"Digit Dataset; {str(recordings)!r} lacks {len(missing)} of them, "
            f"the first being {missing[0]}."
        )
    return recordings


def download_recordings(downloads: Path) -> Path:
    """Fetch the public archive into ``downloads/fsdd/recordings`` unless it is there.

    Raises:
        ConnectionError: The archive could not be fetched.
        ValueError: It holds other recordings than it should.
        WriteError: The disk is full, or the folder cannot be written to.
    """
    target = downloads / "fsdd"
    if target.is_dir():
        return find_recordings(target)
    logging.info("downloading %s", URL)
    try:
        with urllib.request.urlopen(URL, timeout=60) as response:
            archive = zipfile.ZipFile(io.BytesIO(response.read()))
    except (urllib.error.URLError, OSError, zipfile.BadZipFile) as error:
        raise ConnectionError(
            f"Could not download {URL} ({error}); fetch the dataset elsewhere and "
            "name its folder with --fsdd_dir, or use --corpus tts."
        ) from error
    partial = downloads / f".fsdd.partial.{os.getpid()}"
    try:
        with writing(target):
            _extract(archive, partial / "recordings")
        found = checksum(find_recordings(partial))
        if found != SHA256:
            raise ValueError(
                f"{URL} holds other recordings than it did (SHA-256 {found[:12]}..., "
                f"expected {SHA256[:12]}...); fetch version 1.0.10 of the dataset "
                "elsewhere and name its folder with --fsdd_dir."
            )
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target / "recordings"


def checksum(recordings: Path) -> str:
    """SHA-256 of all recordings, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(recordings.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _extract(archive: zipfile.ZipFile, folder: Path) -> None:
    folder.mkdir(parents=True)
    for member in archive.namelist():
        # Only the last part of a name is used: no member can leave the folder.
        if match := re.search(r"/recordings/(\d_\w+_\d+\.wav)$", member):
            (folder / match[1]).write_bytes(archive.read(member))


class FsddCorpus:
    """Digit strings of real speech; no recording is in two of train, dev and test.

    Each utterance depends on seed, variant, set and position only.

    Args:
        recordings: Folder with ``{digit}_{speaker}_{index}.wav``.
        variant: ``clean`` (as recorded, short pauses) or ``hard`` (noise, overlaps of
            up to 80 ms, changed speed).
        seed: Not negative.
        sample_rate: Of the utterances, in Hz.
    """

    def __init__(
        self, recordings: Path, variant: str, seed: int, sample_rate: int
    ) -> None:
        self._recordings = recordings
        self._variant = variant
        self._seed = seed
        self._sample_rate = sample_rate

    def facts(self) -> dict[str, Any]:
        """Whose speech it is, as the licence asks."""
        return {"source": "Free Spoken Digit Dataset v1.0.10, CC BY-SA 4.0"}

    def utterances(self, set_name: str) -> Iterator[Utterance]:
        """Endless utterances of a set; speakers take turns."""
        for index, (speaker, takes) in enumerate(self.plan(set_name)):
            rng = rng_for(self._seed, "fsdd", self._variant, set_name, index)
            yield Utterance(
                f"{speaker}-{set_name}-{index:06d}",
                speaker,
                tuple(digit for digit, _ in takes),
                *self._render(speaker, takes, rng),
            )

    def plan(self, set_name: str) -> Iterator[tuple[str, list[tuple[int, int]]]]:
        """Endless (speaker, [(digit, index)]); recordings are used equally often."""
        decks = {
            (speaker, digit): deck(
                INDICES[set_name],
                rng_for(self._seed, "takes", set_name, speaker, digit),
            )
            for speaker in SPEAKERS
            for digit in range(10)
        }
        for index, digits in enumerate(digit_strings(self._seed, set_name)):
            speaker = SPEAKERS[index % len(SPEAKERS)]
            yield speaker, [(d, next(decks[speaker, d])) for d in digits]

    def _render(
        self, speaker: str, takes: list[tuple[int, int]], rng: np.random.Generator
    ) -> tuple[np.ndarray, float | None]:
        """Samples (time,) in int16 and the SNR in dB, None for the clean variant."""
        hard = self._variant == "hard"
        snr_db = float(rng.uniform(*HARD_SNR_DB)) if hard else None
        # Playing faster equals resampling to a lower rate.
        speed = Fraction(round(100 * rng.uniform(*SPEED)), 100) if hard else 1
        factor = Fraction(self._sample_rate, SOURCE_RATE) / speed
        parts = [self._load(speaker, *take, factor) for take in takes]
        pauses = rng.uniform(*PAUSE[self._variant], size=len(parts) - 1)
        speech = join(parts, np.rint(pauses * self._sample_rate).astype(int))
        samples = surround(speech, self._sample_rate, SILENCE, snr_db, rng)
        return to_pcm(samples, rng), snr_db

    def _load(
        self, speaker: str, digit: int, index: int, factor: Fraction
    ) -> np.ndarray:
        path = self._recordings / f"{digit}_{speaker}_{index}.wav"
        try:
            samples, rate = soundfile.read(path, dtype="float64")
        except soundfile.SoundFileError as error:
            raise ValueError(f"{path} is no recording: {error}") from error
        if rate != SOURCE_RATE or samples.ndim != 1:
            raise ValueError(
                f"--fsdd_dir must hold mono recordings at {SOURCE_RATE} Hz; {path} has "
                f"{rate} Hz and shape {samples.shape}."
            )
        return resample_poly(samples, factor.numerator, factor.denominator)


def join(parts: list[np.ndarray], pauses: np.ndarray) -> np.ndarray:
    """Add signals one after another; a negative pause (samples) lets them overlap."""
    starts = [0]
    for part, pause in zip(parts[:-1], pauses, strict=True):
        starts.append(max(starts[-1], starts[-1] + len(part) + int(pause)))
    ends = [start + len(part) for start, part in zip(starts, parts, strict=True)]
    joined = np.zeros(max(ends))
    for start, end, part in zip(starts, ends, parts, strict=True):
        joined[start:end] += part
    return joined
