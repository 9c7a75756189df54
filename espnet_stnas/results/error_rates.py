"""Word and character error rates of a decoding, by jiwer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_kaldi_text
from espnet_stnas.messages import quote


@dataclass(frozen=True)
class ErrorRates:
    """Errors of a test set; rates in percent.

    Args:
        utterances: Number of utterances.
        words: Number of reference words.
        wer: Word error rate.
        cer: Character error rate, spaces included.
        substitutions: Substituted words.
        deletions: Deleted words.
        insertions: Inserted words.
    """

    utterances: int
    words: int
    wer: float
    cer: float
    substitutions: int
    deletions: int
    insertions: int

    def to_dict(self) -> dict[str, float]:
        """All fields by name."""
        return asdict(self)


def error_rates(reference: PathLike, hypothesis: PathLike) -> ErrorRates:
    """Compare two Kaldi text files (an utterance id and its words on each line).

    Args:
        reference: Text file of the test set.
        hypothesis: Text file of the decoding.

    Raises:
        ConfigError: If a file is missing or damaged, or an utterance stands in only
            one of them.
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
    return ErrorRates(
        utterances=len(ids),
        words=words.hits + words.substitutions + words.deletions,
        wer=round(100 * words.wer, 2),
        cer=round(100 * characters.cer, 2),
        substitutions=words.substitutions,
        deletions=words.deletions,
        insertions=words.insertions,
    )


def rate_of(values: Mapping[str, Any], name: str, file: PathLike) -> float:
    """An error rate of a score file, in percent.

    Args:
        values: What the file holds.
        name: ``wer`` or ``cer``.
        file: Its path, for error messages.

    Raises:
        ConfigError: If it is not there, or is not an error rate.
    """
    value: Any = values.get(name)
    if type(value) not in (int, float) or not 0 <= value < 1e6:
        raise ConfigError(
            f"score file {file}: {name} is {quote(value)}; accepted is a number from "
            "0 on, in percent"
        )
    return float(value)
