"""Synthetic digits: voices, independence of utterances, what is said."""

from __future__ import annotations

import sys
from itertools import combinations, islice

import numpy as np
import pytest
from digit_corpus.digits import SETS, Utterance
from digit_corpus.espeak import Espeak, Voice
from digit_corpus.tts import STYLES, VOICES, TtsCorpus

VOICE = Voice("en+m3", rate=170, pitch=50, pitch_range=50, word_gap=2)


def take(variant: str, seed: int, set_name: str, count: int) -> list[Utterance]:
    """The first utterances of a set."""
    return list(islice(TtsCorpus(variant, seed, 8000).utterances(set_name), count))


def same(first: list[Utterance], second: list[Utterance]) -> bool:
    """Whether ids and samples are equal."""
    return all(
        a.utt_id == b.utt_id and np.array_equal(a.samples, b.samples)
        for a, b in zip(first, second, strict=True)
    )


def test_voices_are_disjoint() -> None:
    assert set(VOICES) == set(SETS)
    for first, second in combinations(SETS, 2):
        assert not set(VOICES[first]) & set(VOICES[second])
    assert all(len(set(names)) == len(names) for names in VOICES.values())


def test_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install espnet-stnas\[demo\]"):
        Espeak()


def test_missing_voice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    monkeypatch.setitem(VOICES, "dev", ("m6", "nobody"))
    with pytest.raises(ImportError, match="lacks the voices nobody"):
        TtsCorpus("clean", 0, 8000)


def test_synthesis_does_not_depend_on_what_came_before() -> None:
    pytest.importorskip("espeakng_loader")
    espeak = Espeak()
    first, rate = espeak.synthesise("three one", VOICE, seed=1)
    assert rate == 22050 and 0.3 < len(first) / rate < 3
    espeak.synthesise("nine", Voice("en+f2", 120, 60, 30, 0), seed=2)
    again, _ = espeak.synthesise("three one", VOICE, seed=1)
    assert np.array_equal(first, again)


def test_unknown_voice_is_refused_and_the_next_call_works() -> None:
    pytest.importorskip("espeakng_loader")
    espeak = Espeak()
    with pytest.raises(RuntimeError, match="refused voice .*name='xx'"):
        espeak.synthesise("one", Voice("xx", 170, 50, 50, 0), seed=0)
    assert len(espeak.synthesise("one", VOICE, seed=0)[0]) > 0


@pytest.mark.parametrize("variant", sorted(STYLES))
def test_same_seed_same_samples_in_any_order(variant: str) -> None:
    pytest.importorskip("espeakng_loader")
    alone = take(variant, 0, "dev", 8)
    corpus = TtsCorpus(variant, 0, 8000)
    list(islice(corpus.utterances("train"), 3))
    after = list(islice(corpus.utterances("dev"), 12))
    assert same(alone, after[:8])
    assert not same(alone, take(variant, 1, "dev", 8))


@pytest.mark.parametrize(
    "variant, lowest, highest", [("clean", 15, 30), ("hard", 0, 15)]
)
def test_utterances_are_as_announced(variant: str, lowest: int, highest: int) -> None:
    pytest.importorskip("espeakng_loader")
    for utt in take(variant, 0, "test", 20):
        voice, number, _ = utt.utt_id.split("-")
        assert voice in VOICES["test"]
        assert utt.spk_id == f"{voice}-{number}"
        assert utt.snr_db is not None and lowest <= utt.snr_db <= highest
        assert utt.samples.dtype == np.int16
        assert 0.25 * 32767 - 2 <= np.abs(utt.samples).max() < 32767
        assert 0.1 < len(utt.samples) / 8000 / len(utt.digits) < 1.2


def test_what_is_said_is_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    said: list[str] = []
    speak = Espeak.synthesise

    def spy(self: Espeak, text: str, voice: Voice, seed: int) -> tuple:
        said.append(text)
        return speak(self, text, voice, seed)

    monkeypatch.setattr(Espeak, "synthesise", spy)
    assert [utt.text for utt in take("clean", 0, "train", 10)] == said


def test_sample_rate_doubles_the_samples() -> None:
    pytest.importorskip("espeakng_loader")
    low = next(TtsCorpus("clean", 0, 8000).utterances("dev"))
    high = next(TtsCorpus("clean", 0, 16000).utterances("dev"))
    assert low.text == high.text
    assert len(high.samples) / len(low.samples) == pytest.approx(2, rel=0.05)
