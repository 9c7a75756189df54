"""Texts of words become texts of units."""

from __future__ import annotations

import pytest

from espnet_stnas.cli.main import main

LEXICON = "HE  HH IY1\nHE(1)  HH IY0\nSAW  S AO1\n"


def run(tmp_path, text: str, *options: str) -> tuple[str, list[str]]:
    (tmp_path / "lexicon").write_text(LEXICON)
    (tmp_path / "text").write_text(text)
    output, tokens = tmp_path / "out" / "text", tmp_path / "out" / "tokens.txt"
    main(
        [
            *("lexicon", str(tmp_path / "lexicon"), "--token_list", str(tokens)),
            *("--text", str(tmp_path / "text"), "--output", str(output), *options),
        ]
    )
    return output.read_text(), tokens.read_text().split()


def test_words_become_units(tmp_path, capsys):
    text, tokens = run(tmp_path, "u2 HE SAW HE\nu1\n\nu3\tSAW  \n")
    assert text == "u2 HH IY1 S AO1 HH IY1\nu1\nu3 S AO1\n"
    assert tokens == ["<blank>", "<unk>", "AO1", "HH", "IY0", "IY1", "S", "<sos/eos>"]
    expected = "lexicon: 2 words, 5 units\ntext: 3 utterances\n"
    assert capsys.readouterr().out == expected


def test_stress(tmp_path):
    text, tokens = run(tmp_path, "u HE SAW\n", "--strip_stress")
    assert text == "u HH IY S AO\n"
    assert tokens == ["<blank>", "<unk>", "AO", "HH", "IY", "S", "<sos/eos>"]


@pytest.mark.parametrize("unk", ["spn", "<unk>"])
def test_unknown_words(tmp_path, unk, capsys):
    text, tokens = run(tmp_path, "u HE WAS\nv WAS he\n", "--unk", unk)
    assert text == f"u HH IY1 {unk}\nv {unk} {unk}\n"
    assert tokens.count(unk) == 1
    assert f"2 different words became {unk}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, options, problem",
    [
        (
            "u HE WAS\nv WAS he\n",
            (),
            r"has 2 words that are not in lexicon \S*: 'WAS' \(utterance 'u'\), 'he' "
            r"\(utterance 'v'\); add them",
        ),
        ("u a b c d e f\n", (), r"6 words .* 'e' \(utterance 'u'\), ...; add"),
        ("u HE\nu SAW\n", (), "line 2: the utterance 'u' is there twice"),
        ("\n", (), "holds no utterance"),
        ("u HE\n", ("--unk", "<blank>"), "unk is '<blank>'; accepted"),
        ("u HE\n", ("--unk", "a b"), "unk is 'a b'; accepted"),
        ("u HE\n", ("--text", "/nothing"), "/nothing does not exist"),
    ],
)
def test_what_is_refused(tmp_path, text, options, problem):
    with pytest.raises(SystemExit, match=problem):
        run(tmp_path, text, *options)
    assert not (tmp_path / "out").exists()


def test_something_must_be_written(tmp_path, capsys):
    for options in ((), ("--text", "t"), ("--output", "o")):
        with pytest.raises(SystemExit, match="2"):
            main(["lexicon", str(tmp_path / "lexicon"), *options])
    assert "go together" in capsys.readouterr().err
