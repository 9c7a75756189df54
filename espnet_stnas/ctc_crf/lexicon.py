"""Pronunciation lexicons: words and their units, such as phones. No torch.

Two forms can be read: Kaldi's ``lexicon.txt`` (each line has a word and its units,
lines of the same word are alternatives) and CMUdict (``;;;`` and ``#`` comments,
alternatives as ``WORD(2)``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_bytes, read_kaldi_text
from espnet_stnas.messages import quote

Pronunciation = tuple[str, ...]

BLANK, UNKNOWN, EDGE = "<blank>", "<unk>", "<sos/eos>"
# ESPnet's token lists have these besides units.
_SPECIAL_TOKENS = (BLANK, EDGE)
# Not str.split, for which some characters of words are spaces, too.
_SPACES = re.compile(r"[ \t\r]+")
_MOST_EXAMPLES = 5
_ALTERNATIVE = re.compile(r"(.+)\([0-9]+\)")
_PROBABILITY = re.compile(r"[0-9]*\.[0-9]+([eE]-?[0-9]+)?|[01]\.")
_STRESSED = re.compile(r"^([A-Za-z]+)[0-2]$")


@functools.lru_cache(maxsize=10000)
def is_unit(name: str) -> bool:
    """Tell whether a unit may have this name."""
    return name.split() == [name] and name not in _SPECIAL_TOKENS


@dataclass(frozen=True)
class Lexicon:
    """Words and their pronunciations.

    Args:
        name: The file or files, for messages.
        pronunciations: Pronunciations of each word, in the order of the file.
        places: File and line of each pronunciation, for messages.

    >>> words = {"read": [("R", "IY", "D"), ("R", "EH", "D")], "a": [("AH",)]}
    >>> lexicon = Lexicon("lexicon.txt", words)
    >>> lexicon.units()
    ['AH', 'D', 'EH', 'IY', 'R']
    >>> lexicon.require_units(["AH", "D", "EH", "R"], "the model")
    Traceback (most recent call last):
    espnet_stnas.errors.ConfigError: lexicon lexicon.txt: word 'read' has the unit...
    """

    name: str
    pronunciations: dict[str, list[Pronunciation]]
    places: dict[tuple[str, Pronunciation], str] = field(default_factory=dict)

    def units(self) -> list[str]:
        """List all units, sorted."""
        return sorted({u for ps in self.pronunciations.values() for p in ps for u in p})

    def require_units(self, known: Iterable[str], owner: str) -> None:
        """Check that all units are known.

        Args:
            known: The known units.
            owner: What knows them, for the message.

        Raises:
            ConfigError: If one is not.
        """
        units = set(known) - {*_SPECIAL_TOKENS}
        strange: dict[str, str] = {}
        for word, pronunciations in self.pronunciations.items():
            for pronunciation in pronunciations:
                for unit in pronunciation:
                    if unit not in units:
                        place = self.places.get((word, pronunciation), self.name)
                        strange.setdefault(unit, f"{place}: word {quote(word)}")
        if strange:
            unit, place = next(iter(strange.items()))
            more = f" ({len(strange)} such units)" if len(strange) > 1 else ""
            raise ConfigError(
                f"lexicon {place} has the unit {quote(unit)}, which is not among the "
                f"units of {owner}{more}; accepted is a lexicon in the units of the "
                "training (see --strip_stress)"
            )


def read_lexicon(paths: Sequence[PathLike], strip_stress: bool = False) -> Lexicon:
    """Read lexicons.

    Args:
        paths: The files. A word gets the pronunciations of all of them.
        strip_stress: Take the stress off the units: ``AH0`` becomes ``AH``.

    Raises:
        ConfigError: If one is missing or damaged, or there is no word at all.
    """
    lexicon = Lexicon(", ".join(map(str, paths)), {})
    for path in paths:
        for number, line in enumerate(_lines(path), start=1):
            _add(lexicon, line, f"{path}, line {number}", strip_stress)
    if not lexicon.pronunciations:
        raise ConfigError(f"lexicon {lexicon.name} holds no word")
    return lexicon


def _lines(path: PathLike) -> list[str]:
    data = read_bytes(path, "lexicon")
    try:
        return data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"lexicon {path}, line {number} is not UTF-8; accepted is UTF-8 (iconv -f "
            "latin1 -t utf8 makes it of older versions of CMUdict)"
        ) from None


def _add(lexicon: Lexicon, line: str, place: str, strip_stress: bool) -> None:
    fields = _SPACES.split(line.strip(" \t\r"))
    if fields == [""] or line.startswith(";;;"):
        return
    word, units = fields[0], fields[1:]
    if "#" in units:
        units = units[: units.index("#")]
    if not units:
        raise ConfigError(
            f"lexicon {place}: word {quote(word)} has no units; accepted are a word "
            "and its units"
        )
    if _PROBABILITY.fullmatch(units[0]):
        raise ConfigError(
            f"lexicon {place}: word {quote(word)} has the unit {quote(units[0])}, "
            "which looks like a probability; accepted are lexicons without them "
            "(lexicon.txt rather than Kaldi's lexiconp.txt)"
        )
    for unit in units:
        if not is_unit(unit):
            raise ConfigError(
                f"lexicon {place}: word {quote(word)} has the unit {quote(unit)}; "
                f"accepted are names without spaces but {' and '.join(_SPECIAL_TOKENS)}"
            )
    if strip_stress:
        units = [_unstressed(unit) for unit in units]
    alternative = _ALTERNATIVE.fullmatch(word)
    # Kaldi's lexicons may have words that end like this.
    if alternative is not None and alternative[1] in lexicon.pronunciations:
        word = alternative[1]
    pronunciation = tuple(units)
    known = lexicon.pronunciations.setdefault(word, [])
    if pronunciation not in known:
        known.append(pronunciation)
        lexicon.places[word, pronunciation] = place


@functools.lru_cache(maxsize=10000)
def _unstressed(unit: str) -> str:
    return _STRESSED.sub(r"\1", unit)


def token_list(units: Iterable[str]) -> list[str]:
    """Make ESPnet's token list: the blank first, then ``<unk>``, units, end.

    Args:
        units: The units, in any order, perhaps with ``<unk>``.
    """
    return [BLANK, UNKNOWN, *sorted({*units} - {UNKNOWN}), EDGE]


def apply_lexicon(
    lexicon: Lexicon, path: str, unk: Optional[str] = None
) -> tuple[list[str], int]:
    """Put the units of words in their place.

    Args:
        lexicon: The pronunciations.
        path: Kaldi text file of words.
        unk: Unit for words without a pronunciation; None to refuse them.

    Returns:
        Lines of an utterance id and units, and how many different words have no
        pronunciation.

    Raises:
        ConfigError: If the file cannot be read, has an utterance twice, or has words
            that must be refused.
    """
    found: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for name, words in read_kaldi_text(path, "text").items():
        units: list[str] = []
        for word in words.split():
            if word in lexicon.pronunciations:
                units += lexicon.pronunciations[word][0]
            else:
                unknown.setdefault(word, name)
                units += [unk] if unk is not None else []
        found[name] = " ".join([name, *units])
    if unknown and unk is None:
        examples = [
            f"{quote(word)} (utterance {quote(name)})"
            for word, name in list(unknown.items())[:_MOST_EXAMPLES]
        ]
        if len(unknown) > _MOST_EXAMPLES:
            examples.append("...")
        raise ConfigError(
            f"text {path} has {len(unknown)} words that are not in lexicon "
            f"{lexicon.name}: {', '.join(examples)}; add them to it, or give a unit "
            "for them with --unk"
        )
    if not found:
        raise ConfigError(f"text {path} holds no utterance")
    return list(found.values()), len(unknown)
