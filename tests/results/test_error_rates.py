from __future__ import annotations

import pytest
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.results.error_rates import error_rates, interval


def write(path, *lines: str):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_rates_by_hand(tmp_path, capsys):
    """5 words: 1 substituted, 1 deleted, 1 inserted: 60 %."""
    ref = write(tmp_path / "ref", "b three four", "a one two  zero")
    hyp = write(tmp_path / "hyp", "a one too two", "b  three four")
    result = error_rates(ref, hyp)
    assert (result.utterances, result.words) == (2, 5)
    edits = result.substitutions + result.deletions + result.insertions
    assert result.wer == pytest.approx(100 * edits / 5)
    assert edits == 2
    write(hyp, "a", "b three four five")
    assert error_rates(ref, hyp).wer == pytest.approx(80.0)
    assert error_rates(ref, hyp).deletions == 3
    assert error_rates(ref, hyp).insertions == 1
    stnas(["score", str(ref), str(hyp), "--output", str(ref) + ".y"])
    assert "WER 80.00 % (S 0, D 3, I 1; 5 words)" in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "ref.y").read_text())["wer"] == 80.0


def binomial_ends(errors: int, words: int) -> tuple[float, float]:
    """The normal approximation, percent."""
    p = errors / words
    half = 1.96 * (p * (1 - p) / words) ** 0.5
    return 100 * (p - half), 100 * (p + half)


def test_interval_of_independent_words():
    """Of utterances of one word, the interval is the binomial distribution's."""
    errors = [1] * 80 + [0] * 720
    found = interval(errors, [1] * 800)
    assert found == pytest.approx(binomial_ends(80, 800), abs=0.25)
    assert interval(errors, [1] * 800) == found


def test_errors_that_come_together_widen_the_interval():
    """Ten utterances with all their words wrong: as sure as ten of one word are."""
    low, high = interval([8] * 10 + [0] * 90, [8] * 100)
    assert (low, high) == pytest.approx(binomial_ends(10, 100), abs=1.5)
    assert interval([0, 0], [3, 0]) == (0.0, 0.0)


def test_score_file_has_the_interval(tmp_path):
    lines = [f"{n} one two three four" for n in range(50)]
    ref = write(tmp_path / "ref", *lines)
    hyp = write(tmp_path / "hyp", *(line + " five" for line in lines[:10]), *lines[10:])
    result = error_rates(ref, hyp)
    assert result.wer == 5.0
    # One wrong word in one of five utterances: 100 / 4 of the binomial's ends.
    low, high = (end / 4 for end in binomial_ends(10, 50))
    assert (result.wer_low, result.wer_high) == pytest.approx((low, high), abs=0.5)
    assert {"wer_low", "wer_high"} <= result.to_dict().keys()
    assert "95 % interval" in str(result)


def test_incomplete_decoding_is_said(tmp_path):
    ref = write(tmp_path / "ref", "a one", "b two")
    with pytest.raises(ConfigError, match="hyp lacks 1 of 2 utterances, such as 'b'"):
        error_rates(ref, write(tmp_path / "hyp", "a one"))
    with pytest.raises(ConfigError, match="ref lacks 1 of 3 utterances, such as 'c'"):
        error_rates(ref, write(tmp_path / "hyp", "a one", "b", "c"))
