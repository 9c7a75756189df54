"""Lexicons in the forms of Kaldi and CMUdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_stnas.ctc_crf.lexicon import Lexicon, read_lexicon, token_list
from espnet_stnas.errors import ConfigError


def read(tmp_path, text: str | bytes, **options) -> Lexicon:
    path = tmp_path / "lexicon.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_lexicon([path], **options)


@pytest.mark.parametrize(
    "text, expected",
    [
        # Kaldi: tabs, Windows line ends, empty lines, a mark at the beginning.
        (
            "\ufeffa ah\r\na\tey \r\n\nab  ah b\n",
            {"a": [("ah",), ("ey",)], "ab": [("ah", "b")]},
        ),
        # CMUdict, old and new.
        (
            ";;; # CMUdict\nA  AH0\nA(1)  EY1\n!POINT  P OY2 N T\n",
            {"A": [("AH0",), ("EY1",)], "!POINT": [("P", "OY2", "N", "T")]},
        ),
        ("a AH0\na(2) EY1 # letter, name\n", {"a": [("AH0",), ("EY1",)]}),
        # No alternative, since there is nothing that it could be one of.
        ("f(2) EH F\n(2) T UW\n", {"f(2)": [("EH", "F")], "(2)": [("T", "UW")]}),
        # Twice the same; characters that other programs take for spaces.
        ("a b\na b\nc\u00a0d\u2028e b\n", {"a": [("b",)], "c\u00a0d\u2028e": [("b",)]}),
        ("<unk> spn\n#HASH HH\n", {"<unk>": [("spn",)], "#HASH": [("HH",)]}),
    ],
)
def test_forms(tmp_path, text, expected):
    assert read(tmp_path, text).pronunciations == expected


def test_stress_is_stripped(tmp_path):
    found = read(tmp_path, "a AH0 b1 aw2\na AH b1\nb N2D 12 AH3\n", strip_stress=True)
    assert found.pronunciations["a"] == [("AH", "b", "aw"), ("AH", "b")]
    assert found.pronunciations["b"] == [("N2D", "12", "AH3")]


def test_several_files_are_one_lexicon(tmp_path):
    (tmp_path / "one").write_text("a x\nb y\n")
    (tmp_path / "two").write_text("a z\na x\n<noise> nsn\n")
    found = read_lexicon([tmp_path / "one", tmp_path / "two"])
    assert found.pronunciations["a"] == [("x",), ("z",)]
    assert found.units() == ["nsn", "x", "y", "z"]


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "lexicon .*lexicon.txt holds no word"),
        ("\n;;; nothing\n", "holds no word"),
        ("a b\nc\n", "lexicon.txt, line 2: word 'c' has no units"),
        ("c # nothing\n", "line 1: word 'c' has no units"),
        ("a 0.5 b\n", "line 1: word 'a' has the unit '0.5', which looks like a prob"),
        ("a 1.0 b\n", "lexicon.txt rather than Kaldi's lexiconp.txt"),
        (
            "a b <blank>\n",
            "line 1: word 'a' has the unit '<blank>'; accepted are names",
        ),
        ("a <sos/eos>\n", "unit '<sos/eos>'"),
        ("a b\u00a0c\n", r"unit 'b\\xa0c'; accepted are names without spaces"),
        (b"a b\n\xc9 b\n", "lexicon.txt, line 2 is not UTF-8; .*iconv"),
    ],
)
def test_bad_lexicons(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem):
        read(tmp_path, text)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError, match="nothing does not exist"):
        read_lexicon([tmp_path / "nothing"])
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_lexicon([tmp_path])


def test_units_that_the_model_lacks(tmp_path):
    lexicon = read(tmp_path, "a x\nb x y\nc z <unk>\nd z\n")
    lexicon.require_units(["<blank>", "<unk>", "x", "y", "z"], "the training")
    with pytest.raises(
        ConfigError,
        match="lexicon.txt, line 2: word 'b' has the unit 'y', which is not among the "
        r"units of the training \(2 such units\); .* --strip_stress",
    ):
        lexicon.require_units(["<blank>", "<unk>", "x"], "the training")


def test_token_list():
    tokens = ["<blank>", "<unk>", "AH", "B", "<sos/eos>"]
    assert token_list(["B", "AH", "B"]) == tokens
    assert token_list(["<unk>", "B", "AH"]) == tokens


@given(st.binary() | st.text("a b\t(1)#;.<>\r\n0").map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "lexicon"
    path.write_bytes(data)
    try:
        found = read_lexicon([path])
    except ConfigError as error:
        assert str(error).startswith("lexicon ")
    else:
        assert all(p for ps in found.pronunciations.values() for p in ps)
