"""Small lexicons, a word LM, and a search that tries everything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
import pytest

from espnet_stnas.ctc_crf.lexicon import Lexicon, Pronunciation

TOKENS = ("<blank>", "a", "b", "c")

# Without </s> after b, and without b after </s>: it backs off.
ARPA = """\
\\data\\
ngram 1=5
ngram 2=4

\\1-grams:
-99\t<s>\t-0.2
-0.9\t</s>
-0.5\tone\t-0.4
-0.7\ttwo\t-0.1
-1.2\tthree

\\2-grams:
-0.3\t<s> one
-0.4\tone three
-0.9\tone </s>
-0.2\ttwo </s>

\\end\\
"""
_LOG10 = {
    tuple(fields[1].split()): (float(fields[0]), float((*fields, 0)[2]))
    for fields in (line.split("\t") for line in ARPA.splitlines() if line[:1] == "-")
}


def needs_flashlight() -> None:
    """Skip a test, or all tests of a file, where flashlight-text is not installed."""
    pytest.importorskip(
        "flashlight.lib.text.decoder",
        reason="needs flashlight-text, which has no wheels for this Python",
    )


def make_lexicon(**words: str) -> Lexicon:
    """A lexicon; pronunciations are separated by |."""
    return Lexicon(
        "test",
        {w: [tuple(p.split()) for p in text.split("|")] for w, text in words.items()},
    )


def random_emissions(
    generator: np.random.Generator, frames: int, columns: int = len(TOKENS)
) -> np.ndarray:
    """Log-probabilities (T, V) of random sharpness."""
    logits = generator.normal(0, generator.choice([0.5, 2, 8]), (frames, columns))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def peaky(*columns: int, high: float = 0.9, number: int = len(TOKENS)) -> np.ndarray:
    """Log-probabilities (T, V) in which one column of each frame stands out."""
    probabilities = np.full((len(columns), number), (1 - high) / (number - 1))
    probabilities[np.arange(len(columns)), columns] = high
    return np.log(probabilities).astype(np.float32)


def log_lm(words: tuple[str, ...]) -> float:
    """The natural logarithm of a sentence's probability in ARPA."""
    total, history = 0.0, "<s>"
    for word in (*words, "</s>"):
        if (history, word) in _LOG10:
            total += _LOG10[history, word][0]
        else:
            total += _LOG10[history,][1] + _LOG10[word,][0]
        history = word
    return total * math.log(10)


def viterbi(emissions: np.ndarray, labels: tuple[int, ...], blank: int) -> float:
    """Log-probability of the best CTC path of labels, by the usual recursion."""
    states = [blank]
    for label in labels:
        states += [label, blank]
    scores = np.full(len(states), -np.inf)
    scores[:2] = emissions[0, states[:2]]
    for frame in emissions[1:]:
        before = scores.copy()
        for s in range(1, len(states)):
            scores[s] = max(scores[s], before[s - 1])
            if s > 1 and states[s] not in (blank, states[s - 2]):
                scores[s] = max(scores[s], before[s - 2])
        scores += frame[states]
    return float(scores[-2:].max())


def pronounced(
    lexicon: Mapping[str, list[Pronunciation]], frames: int
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """All word sequences with their units that have no more units than frames."""
    for number in range(frames + 1):
        for words in product(lexicon, repeat=number):
            for parts in product(*(lexicon[word] for word in words)):
                units = tuple(unit for part in parts for unit in part)
                if len(units) <= frames:
                    yield words, units
