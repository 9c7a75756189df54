"""Damage any file of a finished search: it is named, or the results stay right."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.report import drawing, page, svg
from espnet_stnas.results.health import Health, Sample, write_health
from espnet_stnas.search import program
from tests.fuzz.inputs import litter, refused
from tests.search.conftest import command, corpus, finished_search, search_config

__all__ = ["corpus", "finished_search"]  # fixtures of the searches


def junk_inside(data: bytes) -> bytes:
    """Bytes changed in many places, so that some of them are those of tensors."""
    junk = bytearray(data)
    for place in range(len(data) // 20, len(data) - 7, max(len(data) // 20, 8)):
        junk[place : place + 7] = b"\x00\xff\x80junk"
    return bytes(junk)


# None takes the file away.
DAMAGES: dict[str, Callable[[bytes], Optional[bytes]]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "most": lambda data: data[: -(len(data) // 10) - 1],
    "junk": lambda data: b"\xff\xfe\x00junk" * 9,
    "junk inside": junk_inside,
    "gone": lambda data: None,
}


@pytest.fixture(scope="module")
def exp(finished_search, tmp_path_factory) -> Path:
    """A copy of a finished search, which each case leaves as it was."""
    copy = tmp_path_factory.mktemp("damaged") / "exp"
    shutil.copytree(finished_search, copy, symlinks=True)
    # Commands on a search of noise would end with a warning and its exit code.
    write_health(copy, Health((Sample(3, 6, 6, 9.0, 2.0, 0.1, 0.3, 0.5),)))
    return copy


def snapshot(exp: Path) -> dict[str, bytes]:
    """Contents of all files; a link has those of its file."""
    return {
        str(path.relative_to(exp)): path.read_bytes()
        for path in sorted(exp.rglob("*"))
        if path.is_file()
    }


def cases(exp: Path, damage: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Damage one file after the other; each is whole again afterwards.

    Yields:
        The name of the file, and what all files hold.
    """
    names = [p for p in exp.rglob("*") if p.is_file() and not p.is_symlink()]
    for path in sorted(names):
        whole = path.read_bytes()
        data = DAMAGES[damage](whole)
        path.unlink() if data is None else path.write_bytes(data)
        try:
            yield str(path.relative_to(exp)), snapshot(exp)
        finally:
            path.write_bytes(whole)


def outcome(
    main: Any, options: list[str], output: Path, capsys: Any
) -> tuple[Optional[str], dict[str, bytes]]:
    """Run a command: the sentence, if it ends with one, and the files it wrote."""
    shutil.rmtree(output, ignore_errors=True)
    sentence: list[str] = []

    def noting(words: list[str]) -> None:
        try:
            main(words)
        except SystemExit as error:
            sentence.append(str(error.code))
            raise

    failed = refused(noting, options, capsys)
    assert litter(output) == []
    return (sentence[0] if failed else None), snapshot(output)


COMMANDS = {
    "derive": ["--output={}/arch.yaml", "--init_output={}/init.pth"],
    "report": ["--output={}"],
}


# What may be short: lines of curves are read while a search writes them, and half a
# list of utterances is a list.
SKIPPED = {"derive": "nothing", "report": ("curves/", "runs.jsonl", "split/")}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", COMMANDS)
def test_commands(exp, tmp_path, monkeypatch, capsys, name, damage):
    """Files are read as they were, or named; the experiment stays as it is."""
    # What is drawn takes long, and stands in the page as text, too.
    for module in (drawing, svg):
        monkeypatch.setattr(module, "drawn", lambda *_, **__: b"<svg></svg>")
    # The page has the minute in which it was made.
    clock = SimpleNamespace(now=lambda: datetime(2026, 1, 1))
    monkeypatch.setattr(page, "datetime", clock)
    output = tmp_path / "output"
    options = [name, str(exp), *(o.format(output) for o in COMMANDS[name])]
    sentence, expected = outcome(stnas, options, output, capsys)
    assert sentence is None and expected
    for file, before in cases(exp, damage):
        sentence, found = outcome(stnas, options, output, capsys)
        assert snapshot(exp) == before, file
        if sentence is not None:
            assert str(exp / file) in sentence, (file, sentence)
        elif damage == "gone" and file == "supernet.yaml":
            continue  # older searches have none, and nothing is said of them
        elif not file.startswith(SKIPPED[name]):
            assert found == expected, file


@pytest.mark.parametrize("damage", DAMAGES)
def test_show(exp, tmp_path, capsys, damage):
    for file, before in cases(exp, damage):
        if file.endswith(".yaml") and damage != "gone":
            sentence, _ = outcome(
                stnas, ["show", str(exp / file)], tmp_path / "none", capsys
            )
            assert sentence is None or str(exp / file) in sentence, sentence
            assert snapshot(exp) == before


@pytest.mark.parametrize("damage", ["half", "junk", "junk inside"])
def test_resume(exp, corpus, tmp_path, capsys, damage):
    """A finished search is started again: it is refused, or has nothing to do."""
    options = command(corpus, exp, search_config())
    read = "checkpoint.pth", "architectures/3epoch.yaml", "split/weights/shape"
    for file, before in cases(exp, damage):
        if file not in read:
            continue
        sentence, _ = outcome(program.main, options, tmp_path / "none", capsys)
        after = snapshot(exp)
        assert sentence is not None and str(exp / file) in sentence, (file, sentence)
        assert after == before, file
