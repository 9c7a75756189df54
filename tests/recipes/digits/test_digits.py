"""Strings, signal steps and data directories that both digit corpora share."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
from digit_corpus.digits import (
    MANIFEST,
    Utterance,
    add_noise,
    deck,
    digit_strings,
    rng_for,
    surround,
    to_pcm,
    write_set,
)


def utterances(count: int) -> Iterator[Utterance]:
    """Utterances of one second at 8 kHz, dealt to two speakers."""
    for index in range(count):
        speaker = ("bo", "al")[index % 2]
        samples = np.full(8000, index, dtype=np.int16)
        yield Utterance(f"{speaker}-{index:02d}", speaker, (3, 1, 4), samples, None)


def rows(path: Path) -> dict[str, str]:
    """A Kaldi table as {first column: rest}, in the order of the file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


def test_strings_repeat_for_a_seed_and_differ_otherwise() -> None:
    def take(seed: int, set_name: str) -> list[tuple[int, ...]]:
        return list(islice(digit_strings(seed, set_name), 20))

    assert take(0, "dev") == take(0, "dev")
    assert take(0, "dev") != take(1, "dev")
    assert take(0, "dev") != take(0, "test")


@pytest.mark.parametrize("count", [7, 60, 500])
def test_strings_have_3_to_7_digits_and_balanced_digits(count: int) -> None:
    strings = list(islice(digit_strings(0, "train"), count))
    assert {len(string) for string in strings} <= set(range(3, 8))
    counts = Counter(digit for string in strings for digit in string)
    # The deck holds each digit five times.
    assert max(counts.values()) - min(counts[d] for d in range(10)) <= 5


def test_deck_deals_each_card_once_a_round() -> None:
    cards = list(islice(deck((4, 5, 6), rng_for(0)), 300))
    assert all(sorted(cards[i : i + 3]) == [4, 5, 6] for i in range(0, 300, 3))
    assert cards[:30] != cards[30:60]


@pytest.mark.parametrize("snr_db", [0.0, 7.5, 30.0])
def test_noise_has_the_wanted_power(snr_db: float) -> None:
    signal = np.sin(np.arange(9001) * 0.3)
    power = float(np.mean(signal**2))
    noise = add_noise(signal, power, snr_db, rng_for(0)) - signal
    measured = 10 * np.log10(power / np.mean(noise**2))
    assert measured == pytest.approx(snr_db, abs=1e-9)


def test_silence_is_within_its_range() -> None:
    speech = np.ones(1000)
    for index in range(20):
        samples = surround(speech, 8000, (0.1, 0.2), None, rng_for(index))
        lead = int(np.flatnonzero(samples)[0])
        trail = len(samples) - lead - len(speech)
        assert 800 <= lead <= 1600
        assert 800 <= trail <= 1600


def test_pcm_is_scaled_only_where_it_would_clip() -> None:
    rng = rng_for(0)
    assert np.abs(to_pcm(np.array([0.5, -0.5]), rng) - [16384, -16384]).max() <= 2
    assert np.abs(to_pcm(np.array([3.0, -3.0]), rng)).max() <= 0.99 * 32767 + 2
    silence = to_pcm(np.zeros(1000), rng)
    assert set(silence) == {-1, 0, 1}


def test_directory_is_what_kaldi_expects(tmp_path: Path) -> None:
    target = tmp_path / "dev"
    write_set(target, utterances(99), 4.5 / 60, 8000, {"arguments": {"seed": 0}})
    ids = ["al-01", "al-03", "bo-00", "bo-02", "bo-04"]  # five seconds cover 4.5
    assert list(rows(target / "text")) == ids
    assert set(rows(target / "text").values()) == {"three one four"}
    assert rows(target / "utt2spk") == {utt: utt[:2] for utt in ids}
    assert rows(target / "spk2utt") == {"al": "al-01 al-03", "bo": "bo-00 bo-02 bo-04"}
    scp = rows(target / "wav.scp")
    assert list(scp) == ids
    for utt, path in scp.items():
        info = soundfile.info(path)
        assert (info.subtype, info.samplerate, info.channels) == ("PCM_16", 8000, 1)
        samples, _ = soundfile.read(path, dtype="int16")
        assert (samples == int(utt[3:])).all() and len(samples) == 8000
    assert '"utterances": 5' in (target / MANIFEST).read_text(encoding="utf-8")


def test_relative_paths_stay_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_set(Path("data/dev"), utterances(9), 1 / 60, 8000, {})
    assert rows(Path("data/dev/wav.scp")) == {"bo-00": "data/dev/wav/bo-00.wav"}


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def failing() -> Iterator[Utterance]:
        yield from utterances(2)
        raise RuntimeError("no voice left")

    with pytest.raises(RuntimeError, match="no voice left"):
        write_set(tmp_path / "dev", failing(), 1.0, 8000, {})
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes_away(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        check=True,
        text=True,
    )
    left = tmp_path / f".dev.partial.{done.stdout.strip()}"
    (left / "wav").mkdir(parents=True)
    write_set(tmp_path / "dev", utterances(9), 1 / 60, 8000, {})
    assert [p.name for p in tmp_path.iterdir()] == ["dev"]


def test_what_another_run_makes_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as other:
        busy = tmp_path / f".dev.partial.{other.pid}"
        busy.mkdir()
        with pytest.raises(ValueError, match=f"process {other.pid} right now; wait"):
            write_set(tmp_path / "dev", utterances(9), 1 / 60, 8000, {})
        assert busy.is_dir()
        other.communicate(b"\n")
