"""What is read of a word LM before KenLM reads it."""

from __future__ import annotations

import gzip

import pytest

from espnet_stnas.ctc_crf.decoding.word_lm import read_vocabulary, words_of_lm
from espnet_stnas.errors import ConfigError
from tests.ctc_crf.decoding.search import ARPA, make_lexicon


def write(tmp_path, text: str, name: str = "lm.arpa"):
    path = tmp_path / name
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    return path


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_vocabulary(tmp_path, name):
    text = "# made by hand\n\n" + ARPA.replace("three", "<unk>")
    assert read_vocabulary(write(tmp_path, text, name)) == {"one", "two", "<unk>"}


def test_words_that_the_lm_lacks_are_left_out(tmp_path, caplog):
    lexicon = make_lexicon(one="a | b", four="a", two="c", five="a")
    with caplog.at_level("INFO"):
        found = words_of_lm(lexicon, write(tmp_path, ARPA))
    assert found.pronunciations == {"one": [("a",), ("b",)], "two": [("c",)]}
    assert "2 of 4 words of the lexicon are not in the word LM" in caplog.text
    assert "'four', 'five'" in caplog.text
    assert "1 words of the word LM are not in the lexicon" in caplog.text


def test_a_binary_lm_keeps_all_words(tmp_path, caplog):
    lexicon = make_lexicon(one="a", four="a")
    start = "mmap lm http://kheafield.com/code format version 5\n\0"
    with caplog.at_level("INFO"):
        assert words_of_lm(lexicon, write(tmp_path, start)) is lexicon
    assert "is binary: words of the lexicon that it lacks" in caplog.text


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", r"has no '\\1-grams:'; accepted is a file in ARPA format or in KenLM"),
        ("some\ntext\n" * 1000, r"has no '\\1-grams:'"),
        ("\\1-grams:\n-1 <s>\n", "ends before its 1-grams do"),
        ("\\1-grams:\n-1 <s> -1 -1\n", r"lm.arpa, line 2: '-1 <s> -1 -1'; accepted"),
        (ARPA.replace("</s>", "end"), "has no </s>; accepted are models of whole"),
        (
            ARPA.replace("one", "ONE").replace("two", "TWO"),
            "'one'; its own are such as",
        ),
    ],
)
def test_bad_files(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem):
        words_of_lm(make_lexicon(one="a"), write(tmp_path, text))


def test_damaged_files(tmp_path):
    path = tmp_path / "lm"
    path.write_bytes(b"\x00\xff\xfe" * 10)
    with pytest.raises(ConfigError, match="is neither in ARPA format"):
        read_vocabulary(path)
    path.write_bytes(gzip.compress(ARPA.encode())[:40])
    with pytest.raises(ConfigError, match="cannot be read: "):
        read_vocabulary(path)
    with pytest.raises(ConfigError, match="nothing does not exist"):
        read_vocabulary(tmp_path / "nothing")
