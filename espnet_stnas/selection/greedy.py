"""Errors of greedy CTC decoding, utterance by utterance."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Optional

import editdistance
import numpy as np
from espnet2.text.build_tokenizer import build_tokenizer
from espnet2.text.cleaner import TextCleaner

from espnet_stnas.ctc_crf.decoding.data import Utterances, find_utterances
from espnet_stnas.ctc_crf.decoding.experiment import Experiment
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import (
    read_bytes,
    read_kaldi_text,
    read_yaml_mapping,
    write_text,
)
from espnet_stnas.messages import quote
from espnet_stnas.selection.comparison import Errors


@dataclass(frozen=True)
class TestSet:
    """Speech and its transcripts.

    Args:
        name: Its name.
        source: File, name and type of the speech, as ESPnet reads it.
        text: File of the transcripts.
    """

    __test__ = False  # pytest: this is no test

    name: str
    source: tuple[str, str, str]
    text: str

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that identify its files, without the recordings."""
        found = hashlib.sha256(" ".join(self.source).encode())
        found.update(read_bytes(self.source[0], "speech"))
        found.update(read_bytes(self.text, "text file"))
        return found.hexdigest()[:16]


def named_test(text: str) -> TestSet:
    """Read the name and the files of a test set, ``NAME=WAV_SCP,TEXT``.

    Args:
        text: The value of the option.

    Raises:
        ConfigError: If it is none, or a file does not exist.
    """
    name, _, files = text.partition("=")
    speech, _, transcripts = files.partition(",")
    if not re.fullmatch(r"\w[\w.-]*", name) or not speech or not transcripts:
        raise ConfigError(
            f"test is {quote(text)}; accepted is NAME=WAV_SCP,TEXT, such as "
            "test=data/test/wav.scp,data/test/text"
        )
    for file in (speech, transcripts):
        if not Path(file).is_file():
            raise ConfigError(f"test {name}: {file} does not exist")
    return TestSet(name, (speech, "speech", "sound"), transcripts)


def validation_set(rows: Sequence[tuple[str, str, str]]) -> TestSet:
    """Return the validation set of a search as a test set.

    Args:
        rows: Path, name and type of each kind of data.

    Raises:
        ConfigError: If it has no speech with text.
    """
    by_name = {row[1]: row for row in rows}
    if not {"speech", "text"} <= by_name.keys():
        raise ConfigError(
            f"the validation set of the search has {', '.join(by_name)}; accepted is "
            "one with speech and text, or --test"
        )
    return TestSet("valid", by_name["speech"], by_name["text"][0])


def greedy_errors(
    directory: Path, weights: Path, test: TestSet, device: str = "cpu"
) -> Errors:
    """Decode a test set with a training, unless that was done before.

    Args:
        directory: Directory of the training; results are kept there.
        weights: File of its weights.
        test: The test set.
        device: Where to compute: ``cpu`` or ``cuda``.

    Raises:
        ConfigError: If speech or transcripts are missing, or cannot be read.
    """
    file = directory / f"greedy_{test.name}.json"
    key = {
        "weights": hashlib.sha256(read_bytes(weights, "weights")).hexdigest()[:16],
        "data": test.digest,
    }
    known = _read(file, key)
    if known is None:
        known = _decoded(directory, weights, test, device)
        write_text(file, json.dumps({**key, **asdict(known)}) + "\n")
    return known


def _read(file: Path, key: dict[str, str]) -> Optional[Errors]:
    """Return errors of the same weights and data that were counted before."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if {name: found[name] for name in key} == key:
            return Errors(**{f.name: tuple(found[f.name]) for f in fields(Errors)})
    except (OSError, ValueError, LookupError, TypeError):
        pass  # it is made anew
    return None


def _decoded(directory: Path, weights: Path, test: TestSet, device: str) -> Errors:
    utterances = utterances_of(test)
    config = directory / "config.yaml"
    model = Experiment(config, weights, device)
    return count_errors(
        model.outputs(utterances, num_workers=0),
        test,
        tokens=model.tokens,
        blank=model.blank,
        config=read_yaml_mapping(config, "training config"),
    )


def utterances_of(test: TestSet) -> Utterances:
    """Return the utterances of a test set.

    Raises:
        ConfigError: If speech or transcripts are missing.
    """
    utterances = find_utterances(None, [test.source])
    references = read_kaldi_text(test.text, "text file")
    missing = [name for name in utterances.ids if name not in references]
    if missing:
        raise ConfigError(
            f"{test.text} lacks {len(missing)} of the {len(utterances.ids)} utterances "
            f"of {test.source[0]}, such as {quote(missing[0])}"
        )
    return utterances


def count_errors(
    outputs: Iterable[tuple[str, np.ndarray]],
    test: TestSet,
    *,
    tokens: Sequence[str],
    blank: int,
    config: dict[str, Any],
) -> Errors:
    """Count the errors of the best symbol of each frame.

    Args:
        outputs: Names of utterances, and their log-probabilities (T, V).
        test: Where their transcripts are.
        tokens: The V symbols.
        blank: Place of the blank among them.
        config: The config.yaml of the training.

    Raises:
        ConfigError: If transcripts are missing.
    """
    references = read_kaldi_text(test.text, "text file")
    text = _Text(config)
    rows = {}
    for name, log_probs in outputs:
        best = log_probs.argmax(axis=1) if len(log_probs) else np.zeros(0, int)
        heard = [tokens[k] for k, _ in itertools.groupby(best) if k != blank]
        rows[name] = text.errors(references[name], heard)
    columns = [
        tuple(column) for column in zip(*(rows[n] for n in sorted(rows)), strict=True)
    ]
    found = Errors(tuple(sorted(rows)), *columns)
    if not sum(found.words):
        raise ConfigError(f"{test.text} holds no word to compare with")
    return found


class _Text:
    """Makes words of tokens, as the training has them.

    Args:
        config: The config.yaml of the training.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._tokenizer = build_tokenizer(
            token_type=config["token_type"],
            bpemodel=config.get("bpemodel"),
            non_linguistic_symbols=config.get("non_linguistic_symbols"),
            g2p_type=config.get("g2p"),
        )
        self._clean = TextCleaner(config.get("cleaner"))
        # Phones do not say where words end.
        self._apart = config["token_type"] == "phn"

    def errors(self, reference: str, heard: Sequence[str]) -> tuple[int, int, int, int]:
        """Return words and their errors, tokens and their errors.

        Args:
            reference: The transcript.
            heard: Tokens of the model.
        """
        said = self._clean(reference)
        tokens = self._tokenizer.text2tokens(said)
        words, found = said.split(), list(heard)
        if self._apart:
            words = tokens
        else:
            found = self._tokenizer.tokens2text(found).split()
        return (
            len(words),
            editdistance.eval(words, found),
            len(tokens),
            editdistance.eval(tokens, list(heard)),
        )
