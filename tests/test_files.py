"""Kaldi text files, as ESPnet reads them."""

from __future__ import annotations

import pytest
from espnet2.fileio.read_text import read_2columns_text

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_kaldi_text


def test_values_are_those_of_espnet(tmp_path):
    lines = "b one  two\na\tdrei\x0bvier \r\nc\nd \u3000e\x85f\u2028g\n"
    (tmp_path / "text").write_bytes(lines.encode())
    found = read_kaldi_text(tmp_path / "text", "text")
    assert found == read_2columns_text(tmp_path / "text")
    assert list(found) == ["b", "a", "c", "d"]
    (tmp_path / "text").write_bytes(f"\n{lines} \n".encode())
    assert read_kaldi_text(tmp_path / "text", "text") == found


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a one\n\nb two\na one\n", "ref .*text, line 4: the utterance 'a' is there"),
        (b" \n", "ref .*text holds no utterance"),
        (b"a \xff\n", "ref .*text cannot be read: .*utf-8"),
        (None, "ref .*text does not exist"),
    ],
)
def test_damaged_files(tmp_path, data, problem):
    if data is not None:
        (tmp_path / "text").write_bytes(data)
    with pytest.raises(ConfigError, match=problem):
        read_kaldi_text(tmp_path / "text", "ref")
