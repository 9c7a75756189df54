"""Digits joined from recordings: splits, what is said, the folder that is asked for."""

from __future__ import annotations

import urllib.error
import urllib.request
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
from digit_corpus import fsdd
from digit_corpus.digits import SETS
from digit_corpus.fsdd import (
    INDICES,
    SPEAKERS,
    FsddCorpus,
    download_recordings,
    find_recordings,
    join,
)

REAL = Path(__file__).resolve().parents[3].parent / "shared/data/fsdd"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 0.1 s each, whose level tells the digit: 1000 for 0, 2000 for 1."""
    root = tmp_path_factory.mktemp("fsdd")
    (root / "recordings").mkdir()
    for speaker in SPEAKERS:
        for digit in range(10):
            level = np.full(800, 1000 * (digit + 1), dtype=np.int16)
            for index in range(50):
                path = root / f"recordings/{digit}_{speaker}_{index}.wav"
                soundfile.write(path, level, 8000, subtype="PCM_16")
    return root


def heard(samples: np.ndarray) -> tuple[int, ...]:
    """The digits of a clean utterance of the fake dataset, one for each plateau."""
    levels = np.rint(samples / 1000).astype(int)
    return tuple(int(level) - 1 for level, _ in groupby(levels) if level)


def test_recordings_are_disjoint_and_complete() -> None:
    indices = [index for set_name in SETS for index in INDICES[set_name]]
    assert sorted(indices) == list(range(50))


@pytest.mark.parametrize("set_name", SETS)
def test_plan_takes_the_recordings_of_its_set_equally_often(set_name: str) -> None:
    corpus = FsddCorpus(Path("unused"), "clean", 0, 8000)
    plan = list(islice(corpus.plan(set_name), 1500))
    used: dict[tuple[str, int], list[int]] = {}
    for speaker, takes in plan:
        for digit, index in takes:
            used.setdefault((speaker, digit), []).append(index)
    for indices in used.values():
        assert set(indices) == set(INDICES[set_name])
        counts = [indices.count(index) for index in INDICES[set_name]]
        assert max(counts) - min(counts) <= 1


def test_what_is_heard_is_what_is_written(folder: Path) -> None:
    corpus = FsddCorpus(find_recordings(folder), "clean", 0, 8000)
    for utt in islice(corpus.utterances("dev"), 30):
        assert heard(utt.samples) == utt.digits
        assert utt.snr_db is None
        assert utt.utt_id.startswith(f"{utt.spk_id}-dev-")


def test_hard_utterances_have_noise_and_overlap(folder: Path) -> None:
    corpus = FsddCorpus(find_recordings(folder), "hard", 0, 8000)
    for utt in islice(corpus.utterances("test"), 30):
        assert utt.snr_db is not None and 0 <= utt.snr_db <= 15
        # Silence of at most 0.4 s in all, digits of 0.1 s at 0.85 of their speed.
        assert len(utt.samples) / 8000 <= 0.4 + len(utt.digits) * 0.1 / 0.85 + 0.01


@pytest.mark.parametrize("variant", ["clean", "hard"])
def test_same_seed_same_samples_in_any_order(folder: Path, variant: str) -> None:
    def take(corpus: FsddCorpus, set_name: str) -> list[np.ndarray]:
        return [utt.samples for utt in islice(corpus.utterances(set_name), 6)]

    recordings = find_recordings(folder)
    corpus = FsddCorpus(recordings, variant, 0, 8000)
    take(corpus, "train")
    expected = take(FsddCorpus(recordings, variant, 0, 8000), "dev")
    assert all(map(np.array_equal, take(corpus, "dev"), expected))
    other = take(FsddCorpus(recordings, variant, 1, 8000), "dev")
    assert not any(map(np.array_equal, other, expected))


def test_join_adds_where_signals_overlap() -> None:
    joined = join([np.ones(3), np.ones(3), np.ones(2)], np.array([-1, 2]))
    assert joined.tolist() == [1, 1, 2, 1, 1, 0, 0, 1, 1]
    # An overlap longer than the first signal does not put the second one before it.
    assert join([np.ones(2), np.ones(4)], np.array([-3])).tolist() == [2, 2, 1, 1]


def test_folder_may_be_the_recordings_themselves(folder: Path) -> None:
    inner = folder / "recordings"
    assert find_recordings(inner) == find_recordings(folder) == inner


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--fsdd_dir must be a folder.*nowhere"):
        find_recordings(tmp_path / "nowhere")


def test_missing_recordings_are_counted(tmp_path: Path) -> None:
    (tmp_path / "0_george_0.wav").touch()
    with pytest.raises(ValueError, match=r"lacks 2999 of them.*0_george_1\.wav"):
        find_recordings(tmp_path)


def test_other_sample_rates_are_refused(tmp_path: Path) -> None:
    for speaker in SPEAKERS:
        for digit in range(10):
            for index in range(5):
                path = tmp_path / f"{digit}_{speaker}_{index}.wav"
                soundfile.write(path, np.zeros(99, dtype=np.int16), 44100)
    corpus = FsddCorpus(tmp_path, "clean", 0, 8000)
    with pytest.raises(ValueError, match="at 8000 Hz; .* has 44100 Hz"):
        next(corpus.utterances("test"))


def test_without_internet_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_args: object, **_options: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(ConnectionError, match="no route.*--fsdd_dir"):
        download_recordings(tmp_path / "downloads")
    assert list(tmp_path.iterdir()) == []


def test_downloads_are_unpacked_checked_and_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("fsdd-1.0.10/README.md", "text")
        for path in (folder / "recordings").iterdir():
            writer.write(path, f"fsdd-1.0.10/recordings/{path.name}")
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda *_args, **_options: archive.open("rb")
    )
    downloads = tmp_path / "data/downloads"
    with pytest.raises(ValueError, match="other recordings .*--fsdd_dir"):
        download_recordings(downloads)
    assert list(downloads.iterdir()) == []
    monkeypatch.setattr(fsdd, "SHA256", fsdd.checksum(folder / "recordings"))
    recordings = download_recordings(downloads)
    assert recordings == downloads / "fsdd/recordings"
    assert len(list(recordings.iterdir())) == 3000
    archive.unlink()  # the second call has no archive to read
    assert download_recordings(downloads) == recordings


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no recordings in {REAL}")
@pytest.mark.parametrize("variant", ["clean", "hard"])
def test_real_recordings(variant: str) -> None:
    assert fsdd.checksum(find_recordings(REAL)) == fsdd.SHA256
    corpus = FsddCorpus(find_recordings(REAL), variant, 0, 16000)
    for utt in islice(corpus.utterances("dev"), 12):
        assert 0.15 < len(utt.samples) / 16000 / len(utt.digits) < 1.5
        assert np.abs(utt.samples).max() > 300
