"""The split of the corpus, its phones, the download, and what is refused."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
from pathlib import Path

import make_data
import pytest
from make_data import SPEAKERS, main

WORDS = {"0005": "GO there", "0001": "COME", "0054": "GO"}
SIZES = {"train": 1, "dev": 1, "test": 1}
# Tabs and the corpus's own names, as in OpenSLR's archive.
LEXICON = "GO\tG OW1\nGO\tG AH0\nTHERE\tDH EH1 R\nCOME\tK AH1 M\n"


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three speakers of the training half, and one of the test half."""
    monkeypatch.setattr(make_data, "SIZES", SIZES)
    folder = tmp_path / "speechocean762"
    for half, texts in (("train", WORDS), ("test", {"0003": "come go"})):
        (folder / half).mkdir(parents=True)
        keys = {f"{speaker[1:]}0010011": speaker for speaker in texts}
        rows = {
            "text": [f"{k}\t{texts[s]}" for k, s in keys.items()],
            "utt2spk": [f"{k}\t{s}" for k, s in keys.items()],
            "wav.scp": [f"{k}\tWAVE/SPEAKER{s}/{k}.WAV" for k, s in keys.items()],
        }
        for name, lines in rows.items():
            (folder / half / name).write_text("\n".join(lines) + "\n")
    (folder / "resource").mkdir()
    (folder / "resource" / "lexicon.txt").write_text(LEXICON)
    return folder


def test_speakers_are_split(corpus: Path, tmp_path: Path, capsys) -> None:
    data = tmp_path / "data"
    main([str(corpus), str(data)])
    assert capsys.readouterr().out.splitlines()[-1] == (
        "eval: 1 utterances of 1 speakers"
    )
    name = "0005-0050010011"
    assert (data / "train/text").read_text() == f"{name} GO THERE\n"
    assert (data / "train_phones/text").read_text() == f"{name} G OW DH EH R\n"
    for part in ("train", "train_phones"):
        wav = corpus / "WAVE/SPEAKER0005/0050010011.WAV"
        assert (data / part / "wav.scp").read_text() == f"{name} {wav}\n"
        assert (data / part / "utt2spk").read_text() == f"{name} 0005\n"
        assert (data / part / "spk2utt").read_text() == f"0005 {name}\n"
    assert (data / "dev_phones/text").read_text().endswith(" K AH M\n")
    assert (data / "test/text").read_text().startswith("0054-")
    assert (data / "eval_phones/text").read_text().endswith(" K AH M G OW\n")
    assert "COME K AH M\n" in (data / "local/lexicon.txt").read_text()


def test_a_split_of_the_training_half_is_the_same(corpus: Path, tmp_path: Path) -> None:
    """With names that begin with the speaker, and without the official test half."""
    split = tmp_path / "split"
    main([str(corpus), str(tmp_path / "first")])
    for part in ("train", "dev", "test"):
        (split / part).mkdir(parents=True)
        for name in ("text", "utt2spk", "wav.scp"):
            source = tmp_path / "first" / part / name
            shutil.copy(source, split / part / name)
    shutil.copy(corpus / "resource" / "lexicon.txt", split)
    main([str(split), str(tmp_path / "second")])
    for part in ("train", "dev_phones", "test"):
        texts = [tmp_path / n / part / "text" for n in ("first", "second")]
        assert texts[0].read_text() == texts[1].read_text()
    assert not (tmp_path / "second" / "eval").exists()


def test_speakers_are_in_one_set() -> None:
    sets = [set(known.split()) for known in SPEAKERS.values()]
    assert [len(known) for known in sets] == [13, 24]
    assert not sets[0] & sets[1]


def test_other_transcripts_are_reported(corpus: Path, tmp_path: Path, caplog) -> None:
    main([str(corpus), str(tmp_path / "data")])
    assert "other transcripts of the training half" in caplog.text


def test_what_is_no_corpus_is_refused(corpus: Path, tmp_path: Path) -> None:
    for break_it, message in (
        (
            lambda: (corpus / "resource/lexicon.txt").write_text("GO G\n"),
            "lacks 2 words",
        ),
        (lambda: (corpus / "resource/lexicon.txt").unlink(), "has no resource/lexicon"),
        (lambda: _drop_lines(corpus / "train"), "those of the corpus are"),
        (lambda: (corpus / "train/text").unlink(), "which has no train/text; accepted"),
    ):
        break_it()
        with pytest.raises(SystemExit, match=message):
            main([str(corpus), str(tmp_path / "data")])
    assert not (tmp_path / "data").exists()


def _drop_lines(folder: Path) -> None:
    text = folder / "text"
    text.write_text(text.read_text().partition("\n")[0] + "\n")


def archive_of(corpus: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.add(corpus, "speechocean762")
    return stream.getvalue()


def test_download(corpus: Path, tmp_path: Path, monkeypatch) -> None:
    """Once; what is damaged or cut leaves nothing behind."""
    whole = archive_of(corpus)
    damaged = whole[:-8] + bytes(4) + whole[-4:]  # the checksum of gzip
    folder = tmp_path / "downloads" / "speechocean762"
    found = [damaged, whole[:-40], gzip.compress(b"no archive"), whole]

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        assert url.startswith("https://www.openslr.org/resources/101/")
        return io.BytesIO(found.pop(0))

    monkeypatch.setattr(make_data.urllib.request, "urlopen", urlopen)
    command = [str(folder), str(tmp_path / "data"), "--download"]
    for _ in range(3):
        with pytest.raises(SystemExit):
            main(command)
        assert list(folder.parent.iterdir()) == []
    main(command)
    main(command)
    assert found == []
    assert (tmp_path / "data" / "train" / "text").exists()


def test_where_it_is_not(tmp_path: Path, capsys, monkeypatch) -> None:
    def urlopen(url: str, timeout: float) -> io.BytesIO:
        raise OSError("Name or service not known")

    monkeypatch.setattr(make_data.urllib.request, "urlopen", urlopen)
    with pytest.raises(SystemExit):
        main([str(tmp_path / "a"), str(tmp_path / "data"), "--download"])
    assert "export SPEECHOCEAN762=/path/to/speechocean762" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="which has no train/text"):
        main([str(tmp_path / "a"), str(tmp_path / "data")])
