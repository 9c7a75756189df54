"""Word n-gram LMs in files: ARPA or KenLM's binary format. No torch."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Optional

from espnet_stnas.ctc_crf.arpa import numbered_lines
from espnet_stnas.ctc_crf.lexicon import Lexicon
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike
from espnet_stnas.messages import format_keys, one_line, quote

_BINARY = b"mmap lm http://kheafield.com/code"
# Comments may stand before the head of an ARPA file, but not a whole book.
_LONGEST_PREFACE = 1000
BEGIN, END = "<s>", "</s>"


def words_of_lm(lexicon: Lexicon, path: PathLike) -> Lexicon:
    """Keep the words of a lexicon that a word LM knows.

    Each other word would have the probability of ``<unk>``, which is too high for it. A
    binary file does not tell its words; the lexicon then stays as it is.

    Args:
        lexicon: The lexicon.
        path: The word LM.

    Raises:
        ConfigError: If the LM knows none of the words, or cannot be read.
    """
    vocabulary = read_vocabulary(path)
    if vocabulary is None:
        logging.info(
            f"word LM {one_line(path)} is binary: words of the lexicon that it lacks "
            "have the probability of <unk>"
        )
        return lexicon
    unknown = [word for word in lexicon.pronunciations if word not in vocabulary]
    if len(unknown) == len(lexicon.pronunciations):
        raise ConfigError(
            f"word LM {path} has no word of lexicon {lexicon.name} (such as "
            f"{quote(unknown[0])}; its own are such as "
            f"{quote(min(vocabulary - {'<unk>'}, default='<unk>'))}); are both in the "
            "same case?"
        )
    if unknown:
        logging.info(
            f"{len(unknown)} of {len(lexicon.pronunciations)} words of the lexicon are "
            f"not in the word LM and left out: {format_keys(unknown)}"
        )
    left = set(unknown)
    kept = {w: p for w, p in lexicon.pronunciations.items() if w not in left}
    logging.info(
        f"{len(vocabulary - kept.keys())} words of the word LM are not in the lexicon"
    )
    return Lexicon(lexicon.name, kept, lexicon.places)


def read_vocabulary(path: PathLike) -> Optional[set[str]]:
    """Read the words of a word LM, without ``<s>`` and ``</s>``.

    Args:
        path: ARPA file, plain or with gzip, or a binary file of KenLM.

    Returns:
        The words; None for a binary file, which does not tell them.

    Raises:
        ConfigError: If it is missing, damaged, or in another format.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(_BINARY)) == _BINARY:
                return None
            file.seek(0)
            words = set(_unigrams(file, path))
    except FileNotFoundError:
        raise ConfigError(f"word LM {path} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"word LM {path} cannot be read: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(
            f"word LM {path} is neither in ARPA format (in UTF-8, plain or with gzip) "
            "nor in KenLM's binary format"
        ) from None
    lacking = {BEGIN, END} - words
    if lacking:
        raise ConfigError(
            f"word LM {path} has no {' and no '.join(sorted(lacking))}; accepted are "
            "models of whole sentences"
        )
    return words - {BEGIN, END}


def _unigrams(file: BinaryIO, path: PathLike) -> Iterator[str]:
    inside = False
    for number, line in numbered_lines(file, f"word LM {path}"):
        line = line.strip()
        if not inside:
            inside = line == "\\1-grams:"
            if number > _LONGEST_PREFACE:
                break
        elif line.startswith("\\"):
            return
        elif line:
            fields = line.split()
            if len(fields) not in (2, 3):
                raise ConfigError(
                    f"word LM {path}, line {number}: {quote(line)}; accepted are a "
                    "log10 probability, a word and perhaps a back-off weight"
                )
            yield fields[1]
    what = "ends before its 1-grams do" if inside else "has no '\\1-grams:'"
    raise ConfigError(
        f"word LM {path} {what}; accepted is a file in ARPA format or in KenLM's "
        "binary format"
    )
