"""The search against one that tries all words, pronunciations and paths."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from espnet_stnas.ctc_crf.decoding.beam import BeamOptions, BeamSearch
from espnet_stnas.errors import ConfigError
from tests.ctc_crf.decoding.search import (
    ARPA,
    TOKENS,
    log_lm,
    make_lexicon,
    needs_flashlight,
    peaky,
    pronounced,
    random_emissions,
    viterbi,
)

needs_flashlight()

WIDE = {"beam_size": 20000, "beam_threshold": 1e6}
# One and two are homophones; units repeat inside of words, at their ends, and where
# words meet; words begin with other words, have one unit, or are said in two ways.
LEXICONS = (
    make_lexicon(one="a", two="a", three="a b | b b"),
    make_lexicon(one="b a a", two="a b a | c", three="c c"),
    make_lexicon(one="a", two="b | a b c", three="b a"),
)


def best(lexicon, emissions, blank, lm_weight, word_score):
    """The best score, and the units of all word sequences that have it."""
    scores = {}
    order = ([*TOKENS[1 : 1 + blank], TOKENS[0], *TOKENS[1 + blank :]]).index
    for words, units in pronounced(lexicon.pronunciations, len(emissions)):
        score = viterbi(emissions, tuple(map(order, units)), blank)
        score += lm_weight * log_lm(words) if lm_weight else 0.0
        score += word_score * len(words)
        scores[words] = max(score, scores.get(words, -np.inf))
    return scores


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("lexicon", LEXICONS)
@pytest.mark.parametrize("lm_weight", [0.0, 0.7])
def test_finds_the_best_words(tmp_path, lexicon, blank, lm_weight):
    (tmp_path / "lm.arpa").write_text(ARPA)
    options = BeamOptions(lm_weight=lm_weight, word_score=0.4, nbest=5, **WIDE)
    tokens = [*TOKENS[1 : 1 + blank], TOKENS[0], *TOKENS[1 + blank :]]
    lm = tmp_path / "lm.arpa" if lm_weight else None
    search = BeamSearch(lexicon, tokens, blank=blank, lm=lm, options=options)
    generator = np.random.default_rng(1)
    for frames in (1, 2, 3, 4, 5, 5, 5, 5):
        emissions = random_emissions(generator, frames)
        expected = best(lexicon, emissions, blank, lm_weight, 0.4)
        found = search(emissions)
        top = max(expected.values())
        assert found[0].score == pytest.approx(top, abs=1e-4)
        for hypothesis in found:
            assert hypothesis.complete
            # All paths to a later one may have been merged into those of a better one.
            score = expected[hypothesis.words]
            assert hypothesis.score <= score + 1e-4
        assert expected[found[0].words] == pytest.approx(top, abs=1e-4)
        units = tuple(found[0].units)
        word_score = 0.4 * len(found[0].words)
        lm_score = lm_weight * log_lm(found[0].words) if lm_weight else 0.0
        path = viterbi(emissions, units, blank) + lm_score + word_score
        assert path == pytest.approx(top, abs=1e-4)


def words_of(lexicon, emissions, **options):
    search = BeamSearch(lexicon, TOKENS, options=BeamOptions(**options))
    return " ".join(search(emissions)[0].words)


def test_repeated_units_need_a_blank():
    lexicon = make_lexicon(A="a", AA="a a", AB="a b")
    assert words_of(lexicon, peaky(1, 1, 1)) == "A"
    assert words_of(lexicon, peaky(1, 0, 1), word_score=-0.1) == "AA"
    assert words_of(lexicon, peaky(1, 0, 1), word_score=0.1) == "A A"
    # The last unit of a word may have several frames, also before the next word.
    assert words_of(lexicon, peaky(1, 2, 2, 2, 1, 2, 2)) == "AB AB"
    assert words_of(lexicon, peaky(1, 1, 2, 2, 0, 0, 1, 1, 0)) == "AB A"


@pytest.mark.parametrize("columns", [(1, 1), (1, 2, 2)])
def test_flashlights_own_ctc_is_another(columns):
    """If this fails, flashlight has changed, and topology.py may not be needed.

    The last unit of A gets a single frame; and the last two of ABB need no blank.
    """
    from flashlight.lib.text import decoder

    lexicon, blank = make_lexicon(A="a", ABB="a b b"), 0
    emissions = peaky(*columns)
    trie = decoder.Trie(len(TOKENS), blank)
    for label, (units,) in enumerate(lexicon.pronunciations.values()):
        trie.insert([TOKENS.index(unit) for unit in units], label, 0.0)
    trie.smear(decoder.SmearingMode.MAX)
    options = decoder.LexiconDecoderOptions(
        beam_size=1000,
        beam_size_token=len(TOKENS),
        beam_threshold=1e6,
        lm_weight=0.0,
        word_score=0.0,
        unk_score=-np.inf,
        sil_score=-np.inf,
        log_add=False,
        criterion_type=decoder.CriterionType.CTC,
    )
    lm = decoder.ZeroLM()
    plain = decoder.LexiconDecoder(options, trie, lm, blank, blank, -1, [], False)
    found = plain.decode(emissions.ctypes.data, *emissions.shape)[0]
    right = BeamSearch(lexicon, TOKENS)(emissions)[0]
    assert found.score != pytest.approx(right.score, abs=0.1)


def test_homophones_are_told_apart_by_the_lm(tmp_path):
    (tmp_path / "lm.arpa").write_text(ARPA)
    lexicon = make_lexicon(one="a", two="a", three="b")
    search = BeamSearch(lexicon, TOKENS, lm=tmp_path / "lm.arpa")
    # After <s> and before three it is one, before </s> two.
    assert search(peaky(1, 2, 0, 1))[0].words == ("one", "three", "two")


def test_many_homophones(tmp_path):
    """Flashlight takes six of a spelling."""
    words = {f"w{number}": "a b" for number in range(20)}
    lexicon = make_lexicon(**words)
    options = BeamOptions(nbest=20, beam_size=2000)
    found = BeamSearch(lexicon, TOKENS, options=options)(peaky(1, 2))
    assert {h.words for h in found} >= {(word,) for word in words}
    # They meet in the same unit.
    lexicon = make_lexicon(**{f"w{number}": "a" for number in range(20)})
    search = BeamSearch(lexicon, TOKENS)
    assert len(search(peaky(1, 1, 1))[0].words) == 1
    assert len(search(peaky(1, 0, 1))[0].words) == 2


def test_few_units_per_frame():
    lexicon = make_lexicon(A="a", B="b", C="c")
    emissions = random_emissions(np.random.default_rng(2), 12)
    every = words_of(lexicon, emissions)
    assert words_of(lexicon, emissions, beam_size_token=3) == every
    assert words_of(lexicon, emissions, beam_size_token=9) == every
    narrow = BeamSearch(lexicon, TOKENS, options=BeamOptions(beam_size_token=1))
    assert narrow(peaky(1, 2, 0, 3))[0].words == ("A", "B", "C")


def test_no_frames_and_words_that_do_not_end():
    search = BeamSearch(make_lexicon(ABC="a b c"), TOKENS)
    assert search(peaky(1)[:0])[0].words == ()
    # Only silence ends.
    found = search(peaky(1, 2))[0]
    assert (found.words, found.units, found.complete) == ((), (), True)
    narrow = BeamOptions(beam_size=2)
    found = BeamSearch(make_lexicon(ABC="a b c"), TOKENS, options=narrow)(peaky(1, 2))
    assert not found[0].complete


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"beam_size": 0}, "beam_size is 0"),
        ({"beam_size_token": 0}, "beam_size_token is 0"),
        ({"beam_threshold": -1.0}, "beam_threshold is -1.0; .* from 0 on"),
        ({"lm_weight": float("nan")}, "lm_weight is nan"),
        ({"word_score": float("inf")}, "word_score is inf; accepted is a finite"),
        ({"nbest": 3, "beam_size": 2}, "nbest is 3; accepted is at most beam_size"),
    ],
)
def test_options_out_of_range(options, problem):
    with pytest.raises(ConfigError, match=problem):
        BeamOptions(**options)


def test_an_lm_that_kenlm_refuses(tmp_path):
    (tmp_path / "lm.arpa").write_text(ARPA.replace("ngram 2=4", "ngram 2=5"))
    with pytest.raises(ConfigError, match=r"lm.arpa cannot be read by KenLM: "):
        BeamSearch(LEXICONS[0], TOKENS, lm=tmp_path / "lm.arpa")


def test_without_flashlight(monkeypatch):
    monkeypatch.setitem(sys.modules, "flashlight.lib.text", None)
    with pytest.raises(ConfigError, match=r"pip install 'espnet-stnas\[decode\]'"):
        BeamSearch(LEXICONS[0], TOKENS)


def test_word_pieces():
    """Many units, of which few are considered in each frame."""
    number = 1000
    tokens = ["<blank>", *(f"p{n}" for n in range(1, number))]
    lexicon = make_lexicon(
        **{f"one{n}": f"p{n}" for n in range(1, number)}, two="p5 p5 p7"
    )
    search = BeamSearch(lexicon, tokens, options=BeamOptions(word_score=-1.0))
    found = search(peaky(5, 0, 5, 7, 3, 3, high=0.999, number=number))
    assert found[0].words == ("two", "one3")


def test_too_many_units(monkeypatch):
    monkeypatch.setattr("espnet_stnas.ctc_crf.decoding.beam._MAX_UNITS", 2)
    with pytest.raises(ConfigError, match="test has 3 different units; accepted"):
        BeamSearch(make_lexicon(A="a b c"), TOKENS)
