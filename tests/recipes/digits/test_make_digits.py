"""The command line: options, resuming, refusing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import digit_corpus
import numpy as np
import pytest
from digit_corpus import DigitOptions, prepare
from digit_corpus.digits import SETS, Utterance
from make_digits import main

from tests.disk import small_files
from tests.fuzz.inputs import JUNK, refused

MINUTES = [f"--{name}_minutes={1 / 60}" for name in SETS]


class Tones:
    """A corpus that needs neither a synthesiser nor recordings."""

    made = 0

    def utterances(self, set_name: str) -> Iterator[Utterance]:
        """Half a second each."""
        for index in count():
            Tones.made += 1
            samples = np.zeros(4000, dtype=np.int16)
            yield Utterance(f"al-{set_name}-{index}", "al", (1, 2, 3), samples, None)

    def facts(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to write to, with the corpora replaced by tones."""
    monkeypatch.setattr(digit_corpus, "_make_corpus", lambda _options: Tones())
    monkeypatch.setattr(Tones, "made", 0)
    return tmp_path / "data"


@pytest.mark.parametrize("most", [0, 5000], ids=["at once", "half-way"])
def test_full_disk(output: Path, most: int) -> None:
    """No file, or the first ones; then nothing is left, and it can go on."""
    with (
        small_files(most),
        pytest.raises(SystemExit, match="^error: .*data/.* cannot be written: File"),
    ):
        main([f"--data={output}", *MINUTES])
    assert list(output.iterdir()) == []
    main([f"--data={output}", *MINUTES])
    assert sorted(path.name for path in output.iterdir()) == sorted(SETS)


def test_closed_directory(tmp_path: Path, output: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(
        SystemExit, match="^error: .*file/data/train cannot be written: Not a directory"
    ):
        main([f"--data={tmp_path}/file/data", *MINUTES])


def snapshot(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Times and contents of all files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_second_call_skips(output: Path, caplog: pytest.LogCaptureFixture) -> None:
    main([f"--data={output}", *MINUTES])
    assert sorted(path.name for path in output.iterdir()) == sorted(SETS)
    before, made = snapshot(output), Tones.made
    assert made == 6
    with caplog.at_level(logging.INFO):
        main([f"--data={output}", *MINUTES])
    assert snapshot(output) == before and Tones.made == made
    assert caplog.text.count("skipped") == 3


def test_a_removed_set_is_made_again(output: Path) -> None:
    options = [f"--data={output}", *MINUTES]
    main(options)
    (output / "train").rename(output.parent / "old")
    main(options)
    assert Tones.made == 8
    assert len(snapshot(output / "train")) == len(snapshot(output.parent / "old"))


def test_other_options_are_refused_before_anything_is_written(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([f"--data={output}", *MINUTES])
    (output / "train").rename(output.parent / "old")
    before = snapshot(output)
    with pytest.raises(SystemExit, match="2"):
        main([f"--data={output}", *MINUTES, "--data_seed=1", "--variant=hard"])
    message = capsys.readouterr().err
    assert (
        "made with other options: seed 0 (now 1), variant clean (now hard)" in message
    )
    assert "choose another --data or remove" in message
    assert snapshot(output) == before


@pytest.mark.parametrize("text", [None, "{", "[]", '{"arguments": 3}'])
def test_folders_of_others_are_refused(output: Path, text: str | None) -> None:
    (output / "dev").mkdir(parents=True)
    if text is not None:
        (output / "dev/corpus.json").write_text(text, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"dev exists, but has no readable corpus\.json"
    ):
        prepare(DigitOptions(data=output))
    assert Tones.made == 0


@pytest.mark.parametrize(
    "option, message",
    [
        ({"corpus": "an4"}, "--corpus must be tts or fsdd; found 'an4'"),
        ({"variant": "easy"}, "--variant must be clean or hard; found 'easy'"),
        ({"sample_rate": 44100}, "--sample_rate must be 8000 or 16000; found 44100"),
        ({"train_minutes": 0.0}, r"--train_minutes must be .* above 0; found 0\.0"),
        ({"dev_minutes": -3.0}, r"--dev_minutes must be .* above 0; found -3\.0"),
        ({"test_minutes": float("nan")}, "--test_minutes must be .*; found nan"),
        ({"train_minutes": float("inf")}, "--train_minutes must be .*; found inf"),
        ({"data_seed": -1}, "--data_seed must be an integer of 0 or more; found -1"),
        ({"data": Path(__file__)}, "--data must be a folder, existing or not"),
        ({"fsdd_dir": Path("x")}, "--fsdd_dir must be left out with --corpus tts"),
    ],
)
def test_options_are_checked(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DigitOptions(**option)


def test_errors_end_the_command_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, nowhere = tmp_path / "data", tmp_path / "nowhere"
    with pytest.raises(SystemExit, match="2"):
        main([f"--data={output}", "--corpus=fsdd", f"--fsdd_dir={nowhere}"])
    assert "error: --fsdd_dir must be a folder" in capsys.readouterr().err
    assert not output.exists()


def test_empty_fsdd_dir_counts_as_left_out(output: Path) -> None:
    main([f"--data={output}", *MINUTES, "--fsdd_dir="])
    assert Tones.made == 6


MANIFESTS = [b"", b"{}", b"[]", b'{"arguments": [[1, 2], ["a", 3]]}', b"[" * 99999]
MANIFESTS += [b'{"arguments": {"seed": 1}}', b'{"arguments": {"se\\ned": "\\u0007"}}']


@pytest.mark.parametrize("manifest", [*MANIFESTS, *JUNK])
def test_damaged_manifests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], manifest: bytes
) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "corpus.json").write_bytes(manifest)
    assert refused(main, [f"--data={tmp_path}"], capsys)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["corpus.json", "train"]


@pytest.mark.parametrize(
    "option", ["data_seed", "sample_rate", "train_minutes", "corpus"]
)
@pytest.mark.parametrize("value", ["-1", "nan", "1e999", "", "x\ny", "9" * 500, "0"])
def test_wrong_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    if (option, value) in (("data_seed", "0"), ("data_seed", "9" * 500)):
        return
    assert refused(main, [f"--data={tmp_path}", f"--{option}={value}"], capsys)
    assert list(tmp_path.iterdir()) == []


def test_damaged_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for name in ("george", "jackson", "lucas", "nicolas", "theo", "yweweler"):
        for digit in range(10):
            for index in range(50):
                (recordings / f"{digit}_{name}_{index}.wav").write_bytes(b"junk")
    options = ["--corpus=fsdd", f"--fsdd_dir={tmp_path}", f"--data={tmp_path}/data"]
    assert refused(main, options, capsys)
    assert list((tmp_path / "data").iterdir()) == []


def test_ctrl_c_leaves_nothing_half_made(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Tones, set_name: str) -> Iterator[Utterance]:
        samples = np.zeros(40, dtype=np.int16)
        yield Utterance("al-0", "al", (1, 2, 3), samples, None)
        raise KeyboardInterrupt

    monkeypatch.setattr(Tones, "utterances", stop)
    with pytest.raises(SystemExit, match="130"):
        main([f"--data={output}", *MINUTES])
    assert capsys.readouterr().err == ""
    assert list(output.iterdir()) == []
