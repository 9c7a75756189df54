from __future__ import annotations

import pytest
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.results.error_rates import error_rates, read_text


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


def test_incomplete_decoding_is_said(tmp_path):
    ref = write(tmp_path / "ref", "a one", "b two")
    with pytest.raises(ConfigError, match="hyp lacks 1 of 2 utterances, such as 'b'"):
        error_rates(ref, write(tmp_path / "hyp", "a one"))
    with pytest.raises(ConfigError, match="ref lacks 1 of 3 utterances, such as 'c'"):
        error_rates(ref, write(tmp_path / "hyp", "a one", "b", "c"))


def test_missing_or_empty_files(tmp_path):
    with pytest.raises(ConfigError, match="text file .*nowhere cannot be read"):
        read_text(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="holds no utterance"):
        read_text(write(tmp_path / "empty"))
