"""Beam search with a lexicon and a word n-gram LM, by flashlight-text. No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from espnet_stnas.ctc_crf.decoding.topology import SIL, Topology
from espnet_stnas.ctc_crf.lexicon import Lexicon
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike
from espnet_stnas.messages import one_line

# Flashlight takes so many words of the same spelling, and drops the others.
_MAX_HOMOPHONES = 6
# Flashlight's table of transitions has a number for each pair of tokens, and each unit
# has three tokens.
_MAX_UNITS = 5000


@dataclass(frozen=True)
class BeamOptions:
    """Widths of the beam, and weights of the scores.

    Args:
        beam_size: Number of hypotheses that are kept in each step.
        beam_threshold: A hypothesis is dropped if the best one is better by more.
        beam_size_token: Number of units that are considered in each frame.
        lm_weight: Weight of the natural logarithm of the word LM's probability.
        word_score: Added to the score for each word.
        nbest: Number of word sequences to find for each utterance.

    Raises:
        ConfigError: If one is out of range.
    """

    beam_size: int = 500
    beam_threshold: float = 50.0
    beam_size_token: int = 50
    lm_weight: float = 1.0
    word_score: float = 0.0
    nbest: int = 1

    def __post_init__(self) -> None:
        for name in ("beam_size", "beam_size_token", "nbest"):
            value = getattr(self, name)
            if not 1 <= value < 2**31:
                raise ConfigError(
                    f"{name} is {value}; accepted is an integer from 1 on"
                )
        for name in ("beam_threshold", "lm_weight", "word_score"):
            value = getattr(self, name)
            if not math.isfinite(value) or (value < 0 and name != "word_score"):
                raise ConfigError(
                    f"{name} is {value}; accepted is a finite number"
                    + ("" if name == "word_score" else " from 0 on")
                )
        if self.nbest > self.beam_size:
            raise ConfigError(
                f"nbest is {self.nbest}; accepted is at most beam_size, which is "
                f"{self.beam_size}"
            )


@dataclass(frozen=True)
class Hypothesis:
    """A word sequence that the search found.

    Args:
        words: The words.
        units: Columns of the units in the emissions.
        score: Log-probability of the best CTC path, plus weighted LM and word scores.
        complete: False if the utterance ends within the last word.
    """

    words: tuple[str, ...]
    units: tuple[int, ...]
    score: float
    complete: bool


class BeamSearch:
    """Finds the words of CTC outputs.

    Args:
        lexicon: The words that can be found.
        tokens: Names of all columns of the emissions.
        blank: Column of the blank.
        lm: File of the word LM, in ARPA or KenLM's binary format.
        options: Widths and weights.

    Raises:
        ConfigError: If flashlight-text is not installed, the LM cannot be read, or
            there are too many units.

    >>> lexicon = Lexicon("lexicon.txt", {"ab": [("a", "b")], "b": [("b",)]})
    >>> search = BeamSearch(lexicon, tokens=["<blank>", "a", "b"])
    >>> emissions = np.log([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.2, 0.1, 0.7]])
    >>> search(emissions)[0].words
    ('ab',)
    """

    def __init__(
        self,
        lexicon: Lexicon,
        tokens: Sequence[str],
        *,
        blank: int = 0,
        lm: Optional[PathLike] = None,
        options: Optional[BeamOptions] = None,
    ) -> None:
        flashlight = require_flashlight()
        self._options = options = options or BeamOptions()
        self._words = list(lexicon.pronunciations)
        columns = {token: column for column, token in enumerate(tokens)}
        spellings = [
            (number, tuple(columns[unit] for unit in pronunciation))
            for number, word in enumerate(self._words)
            for pronunciation in lexicon.pronunciations[word]
        ]
        homophones = Counter(spelling for _, spelling in spellings)
        units = {column for _, spelling in spellings for column in spelling}
        if len(units) > _MAX_UNITS:
            raise ConfigError(
                f"lexicon {lexicon.name} has {len(units)} different units; accepted "
                f"are at most {_MAX_UNITS}"
            )
        self.topology = Topology(
            sorted(units),
            blank,
            endings=math.ceil(max(homophones.values()) / _MAX_HOMOPHONES),
        )
        # The decoder does not keep it alive.
        self._lm = _language_model(lm, self._words)
        trie = flashlight.Trie(self.topology.number_tokens, SIL)
        start = self._lm.start(False)
        placed: Counter[tuple[int, ...]] = Counter()
        for number, spelling in spellings:
            ending = placed[spelling] // _MAX_HOMOPHONES
            placed[spelling] += 1
            # With the score as a first guess, unlikely words can be dropped early.
            _, score = self._lm.score(start, number)
            trie.insert(self.topology.spell(spelling, ending), number, score)
        trie.smear(flashlight.SmearingMode.MAX)
        self._decoder = flashlight.LexiconDecoder(
            flashlight.LexiconDecoderOptions(
                beam_size=options.beam_size,
                beam_size_token=self.topology.most_tokens(options.beam_size_token),
                beam_threshold=options.beam_threshold,
                # KenLM has logarithms to the base of 10.
                lm_weight=options.lm_weight * math.log(10),
                word_score=options.word_score,
                unk_score=-math.inf,
                sil_score=0.0,
                log_add=False,
                criterion_type=flashlight.CriterionType.ASG,
            ),
            trie,
            self._lm,
            SIL,
            SIL,  # the blank, which this mode does not have
            -1,  # the unknown word, which unk_score turns off
            self.topology.transitions(),
            False,
        )

    def __call__(self, emissions: np.ndarray) -> list[Hypothesis]:
        """Find the words of an utterance.

        Args:
            emissions: Log-probabilities of CTC (T, V).

        Returns:
            At least one hypothesis and at most ``nbest`` of different words, the best
            first.
        """
        steps = self.topology.expand(emissions, self._options.beam_size_token)
        if not len(steps):
            return [Hypothesis((), (), 0.0, True)]
        results = self._decoder.decode(steps.ctypes.data, *steps.shape)
        found: dict[tuple[str, ...], Hypothesis] = {}
        for result in results:
            words = tuple(self._words[word] for word in result.words if word >= 0)
            # The same words by other pronunciations or paths have lower scores.
            if words not in found:
                found[words] = Hypothesis(
                    words,
                    tuple(self.topology.units_of(result.tokens[1:-1])),
                    result.score,
                    self.topology.is_complete(result.tokens[-2]),
                )
            if len(found) == self._options.nbest:
                break
        return list(found.values())


def require_flashlight() -> Any:
    """Import the module ``flashlight.lib.text.decoder``.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        from flashlight.lib.text import decoder
    except ImportError as error:
        raise ConfigError(
            "decoding with a lexicon needs the package flashlight-text, which is not "
            "installed; pip install 'espnet-stnas[decode]' has it, for Python up to "
            f"3.12 ({one_line(error)})"
        ) from None
    return decoder


def _language_model(path: Optional[PathLike], words: Sequence[str]) -> Any:
    if path is None:
        return require_flashlight().ZeroLM()
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    dictionary = Dictionary()
    for word in words:
        dictionary.add_entry(word)
    try:
        return KenLM(str(path), dictionary)
    except RuntimeError as error:
        raise ConfigError(
            f"word LM {path} cannot be read by KenLM: {one_line(error)[:300]}"
        ) from None
