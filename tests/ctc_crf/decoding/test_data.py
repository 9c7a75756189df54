"""Which utterances are decoded."""

from __future__ import annotations

import pytest

from espnet_stnas.ctc_crf.decoding.data import find_utterances
from espnet_stnas.errors import ConfigError


def write(path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


@pytest.mark.parametrize(
    "file, line, kind",
    [
        ("wav.scp", "u1 a.wav", "sound"),
        ("wav.scp", "u1 data/a.ark:12", "kaldi_ark"),
        ("feats.scp", "u1 data/a.ark:12", "kaldi_ark"),
    ],
)
def test_data_directories(tmp_path, file, line, kind):
    path = write(tmp_path / file, line, "u2 b")
    found = find_utterances(tmp_path, [])
    assert found.sources == ((path, "speech", kind),)
    assert (found.ids, found.key_file) == (("u1", "u2"), None)


def test_a_part_of_them(tmp_path):
    path = write(tmp_path / "wav.scp", "u1 a", "u2 b", "u3 c")
    keys = write(tmp_path / "keys", "u1 x", "u3")
    found = find_utterances(None, [(path, "speech", "sound")], keys)
    assert (found.ids, found.key_file) == (("u1", "u3"), keys)


@pytest.mark.parametrize(
    "keys, problem",
    [
        (("u1", "u4", "u5"), "has 2 utterances that are not in .*, such as 'u4'"),
        (("u3", "u1"), "has its utterances in another order"),
        (("u1", "u1"), "line 2: the utterance 'u1' is there twice"),
        ((), "key file .* holds no utterance"),
    ],
)
def test_bad_key_files(tmp_path, keys, problem):
    write(tmp_path / "wav.scp", "u1 a", "u2 b", "u3 c")
    with pytest.raises(ConfigError, match=problem):
        find_utterances(tmp_path, [], write(tmp_path / "keys", *keys))


@pytest.mark.parametrize("command", ["touch pwned |", "| touch pwned", "touch a |:0"])
@pytest.mark.parametrize("file", ["wav.scp", "feats.scp"])
def test_commands_are_not_run(tmp_path, file, command):
    write(tmp_path / file, "u1 data/a.ark:12", f"u2 {command}")
    with pytest.raises(ConfigError, match="utterance 'u2' is a command for the shell"):
        find_utterances(tmp_path, [])
    assert find_utterances(tmp_path, [], allow_pipes=True).ids == ("u1", "u2")


def test_bad_data(tmp_path):
    with pytest.raises(ConfigError, match="has neither wav.scp nor feats.scp"):
        find_utterances(tmp_path, [])
    write(tmp_path / "wav.scp")
    with pytest.raises(ConfigError, match="wav.scp holds no utterance"):
        find_utterances(tmp_path, [])
    with pytest.raises(ConfigError, match=r"names \['text'\]; accepted is one that"):
        find_utterances(None, [("text", "text", "text")])
    with pytest.raises(ConfigError, match="nothing is not a directory"):
        find_utterances(tmp_path / "nothing", [])
    with pytest.raises(ConfigError, match="speech nothing does not exist"):
        find_utterances(None, [("nothing", "speech", "sound")])
    write(tmp_path / "segments")
    with pytest.raises(ConfigError, match="has segments, which are not cut out here"):
        find_utterances(tmp_path, [])
