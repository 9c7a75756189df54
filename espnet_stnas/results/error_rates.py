"""Word and character error rates of a decoding, with confidence intervals (jiwer)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_kaldi_text
from espnet_stnas.messages import quote


@dataclass(frozen=True)
class ErrorRates:
    """Errors on a test set; all rates in percent.

    Args:
        utterances: Number of utterances.
        words: Number of reference words.
        wer: Word error rate.
        cer: Character error rate, including spaces.
        substitutions: Number of substituted words.
        deletions: Number of deleted words.
        insertions: Number of inserted words.
        wer_low: Lower end of the 95 % interval of the word error rate.
        wer_high: Upper end of that interval; see :func:`interval`.
    """

    utterances: int
    words: int
    wer: float
    cer: float
    substitutions: int
    deletions: int
    insertions: int
    wer_low: float
    wer_high: float

    def to_dict(self) -> dict[str, float]:
        """Return all fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the rates in one line."""
        return (
            f"WER {self.wer:.2f} % (S {self.substitutions}, D {self.deletions}, "
            f"I {self.insertions}; {self.words} words), 95 % interval "
            f"{self.wer_low:.2f} to {self.wer_high:.2f}, CER {self.cer:.2f} %, "
            f"{self.utterances} utterances"
        )


def error_rates(reference: PathLike, hypothesis: PathLike) -> ErrorRates:
    """Compare two Kaldi text files (an utterance id and its words on each line).

    Args:
        reference: Text file of the test set.
        hypothesis: Text file of the decoding.

    Raises:
        ConfigError: If a file is missing or damaged, or an utterance is in only one of
            them.
    """
    import jiwer

    references = read_kaldi_text(reference, "text file")
    hypotheses = read_kaldi_text(hypothesis, "text file")
    for one, other, path in (
        (references, hypotheses, hypothesis),
        (hypotheses, references, reference),
    ):
        missing = sorted(one.keys() - other.keys())
        if missing:
            raise ConfigError(
                f"{path} lacks {len(missing)} of {len(one)} utterances, such as "
                f"'{missing[0]}'; was the decoding complete?"
            )
    if not any(references.values()):
        raise ConfigError(f"text file {reference} holds no word to compare with")
    ids = sorted(references)
    said, heard = [references[i] for i in ids], [hypotheses[i] for i in ids]
    words = jiwer.process_words(said, heard)
    characters = jiwer.process_characters(said, heard)
    errors = [
        sum(
            max(
                part.ref_end_idx - part.ref_start_idx,
                part.hyp_end_idx - part.hyp_start_idx,
            )
            for part in parts
            if part.type != "equal"
        )
        for parts in words.alignments
    ]
    low, high = interval(errors, [len(line.split()) for line in said])
    return ErrorRates(
        utterances=len(ids),
        words=words.hits + words.substitutions + words.deletions,
        wer=round(100 * words.wer, 2),
        cer=round(100 * characters.cer, 2),
        substitutions=words.substitutions,
        deletions=words.deletions,
        insertions=words.insertions,
        wer_low=round(low, 2),
        wer_high=round(high, 2),
    )


def interval(
    errors: Sequence[int], words: Sequence[int], *, samples: int = 2000
) -> tuple[float, float]:
    """Return the 95 % interval of a word error rate by bootstrap over utterances.

    The bootstrap draws test sets of the same number of utterances from this one, with
    replacement (Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR
    performance evaluation", ICASSP 2004). The interval describes the variation between
    test sets of the same kind, not between seeds of the training. If few speakers have
    many utterances each, it is too narrow for other speakers.

    Args:
        errors: Wrong words of each utterance.
        words: Reference words of each utterance; at least one in total.
        samples: Number of test sets; the draw is always the same.

    Returns:
        Lower and upper end, in percent.
    """
    rng = np.random.default_rng(0)
    wrong, said = np.asarray(errors), np.asarray(words)
    rates = []
    for _ in range(samples):
        drawn = rng.integers(len(said), size=len(said))
        if total := said[drawn].sum():
            rates.append(100 * wrong[drawn].sum() / total)
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)


def rate_of(values: Mapping[str, Any], name: str, file: PathLike) -> float:
    """Return an error rate of a score file, in percent.

    Args:
        values: Contents of the file.
        name: ``wer`` or ``cer``.
        file: Its path, for error messages.

    Raises:
        ConfigError: If the value is missing or is not an error rate.
    """
    value: Any = values.get(name)
    if type(value) not in (int, float) or not 0 <= value < 1e6:
        raise ConfigError(
            f"score file {file}: {name} is {quote(value)}; accepted is a number from "
            "0 on, in percent"
        )
    return float(value)
