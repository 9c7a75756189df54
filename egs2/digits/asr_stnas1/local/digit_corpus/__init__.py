"""Connected-digit corpora as Kaldi-style data directories, for recipes and tests."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digit_corpus.digits import MANIFEST, SETS, Corpus, write_set
from digit_corpus.fsdd import FsddCorpus, download_recordings, find_recordings
from digit_corpus.tts import TtsCorpus

__all__ = ["DigitOptions", "prepare"]

CORPORA = ("tts", "fsdd")
VARIANTS = ("clean", "hard")
SAMPLE_RATES = (8000, 16000)
# Raise this when the same arguments begin to give other files.
REVISION = 1


@dataclass(frozen=True)
class DigitOptions:
    """The options of ``make_digits.py``.

    Args:
        corpus: ``tts`` (synthetic) or ``fsdd`` (real speech).
        variant: ``clean`` or ``hard``.
        data: Folder that gets ``train``, ``dev`` and ``test``.
        data_seed: Not negative.
        sample_rate: 8000 or 16000 Hz.
        train_minutes: Least duration of the set, as for the next two.
        dev_minutes: See above.
        test_minutes: See above.
        fsdd_dir: Folder that is, or contains, ``recordings/``; None to download it.

    Raises:
        ValueError: An option has a value that is not accepted.
    """

    corpus: str = "tts"
    variant: str = "clean"
    data: Path = Path("data")
    data_seed: int = 0
    sample_rate: int = 8000
    train_minutes: float = 30.0
    dev_minutes: float = 3.0
    test_minutes: float = 6.0
    fsdd_dir: Path | None = None

    def __post_init__(self) -> None:
        """Check every option."""
        for name, accepted in {
            "corpus": CORPORA,
            "variant": VARIANTS,
            "sample_rate": SAMPLE_RATES,
        }.items():
            if getattr(self, name) not in accepted:
                values = " or ".join(map(str, accepted))
                self._refuse(name, values)
        for set_name in SETS:
            minutes = getattr(self, f"{set_name}_minutes")
            if not (math.isfinite(minutes) and minutes > 0):
                self._refuse(f"{set_name}_minutes", "a number of minutes above 0")
        if self.data_seed < 0:
            self._refuse("data_seed", "an integer of 0 or more")
        if self.data.exists() and not self.data.is_dir():
            self._refuse("data", "a folder, existing or not")
        if self.fsdd_dir is not None and self.corpus != "fsdd":
            self._refuse("fsdd_dir", f"left out with --corpus {self.corpus}")

    def _refuse(self, name: str, accepted: str) -> None:
        value = getattr(self, name)
        found = repr(str(value)) if isinstance(value, Path) else repr(value)
        raise ValueError(f"--{name} must be {accepted}; found {found}.")

    def arguments(self, set_name: str) -> dict[str, Any]:
        """The options that decide what the files of one set contain."""
        minutes = f"{set_name}_minutes"
        return {
            "revision": REVISION,
            "corpus": self.corpus,
            "variant": self.variant,
            "output": self.data.as_posix(),
            "seed": self.data_seed,
            "sample_rate": self.sample_rate,
            minutes: getattr(self, minutes),
        }


def prepare(options: DigitOptions) -> None:
    """Write the sets that are not there yet.

    Args:
        options: What to write and where.

    Raises:
        ValueError: A set exists already and was made otherwise, or the recordings
            are incomplete.
        ImportError: espeakng-loader is needed and not installed, or lacks voices.
        ConnectionError: The recordings could not be downloaded.
    """
    missing = [name for name in SETS if not _is_made(options, name)]
    if not missing:
        return
    corpus = _make_corpus(options)
    for name in missing:
        manifest = {"arguments": options.arguments(name), **corpus.facts()}
        write_set(
            options.data / name,
            corpus.utterances(name),
            getattr(options, f"{name}_minutes"),
            options.sample_rate,
            manifest,
        )


def _make_corpus(options: DigitOptions) -> Corpus:
    common = (options.variant, options.data_seed, options.sample_rate)
    if options.corpus == "tts":
        return TtsCorpus(*common)
    if options.fsdd_dir is None:
        recordings = download_recordings(options.data / "downloads")
    else:
        recordings = find_recordings(options.fsdd_dir)
    return FsddCorpus(recordings, *common)


def _is_made(options: DigitOptions, set_name: str) -> bool:
    """Whether the set exists as wanted; refuses one that is there and different."""
    target = options.data / set_name
    if not target.exists():
        return False
    way_out = f"choose another --data or remove {target}."
    try:
        text = (target / MANIFEST).read_text(encoding="utf-8")
        found = json.loads(text)["arguments"]
        if not isinstance(found, dict):
            raise TypeError("'arguments' is not an object")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{target} exists, but has no readable {MANIFEST}; {way_out}"
        ) from error
    wanted = options.arguments(set_name)
    if found != wanted:
        differences = ", ".join(
            f"{key} {found.get(key)} (now {wanted.get(key)})"
            for key in sorted({*found, *wanted})
            if found.get(key) != wanted.get(key)
        )
        raise ValueError(
            f"{target} was made with other options: {differences}; {way_out}"
        )
    logging.info("%s is there already, made with the same options: skipped", target)
    return True
