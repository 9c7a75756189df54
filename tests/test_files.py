"""Files are read as ESPnet reads them, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import nullcontext

import pytest
import torch
from espnet2.fileio.read_text import read_2columns_text

from espnet_stnas.errors import ConfigError, WriteError
from espnet_stnas.files import check_sums, read_kaldi_text, write_text


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


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """First the content, then the name, then the directory."""
    done = []
    replace, fsync = os.replace, os.fsync

    def name_of(handle: int) -> str:
        return os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))

    monkeypatch.setattr(
        os, "fsync", lambda h: (done.append(("fsync", name_of(h))), fsync(h))
    )
    monkeypatch.setattr(
        os, "replace", lambda a, b: (done.append(("name", b.name)), replace(a, b))
    )
    write_text(tmp_path / "new" / "arch.yaml", "text")
    (first, temporary), *rest = done
    assert first == "fsync" and temporary.startswith(".arch.yaml.")
    assert rest == [("name", "arch.yaml"), ("fsync", "new")]


def test_directories_that_cannot_be_synchronised(tmp_path, monkeypatch):
    """As on some network file systems; other errors of the disk count."""
    for number, fails in ((errno.EINVAL, False), (errno.EIO, True)):

        def fsync(handle: int, number: int = number) -> None:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)
        refusal = pytest.raises(WriteError, match="arch.yaml cannot be written")
        with refusal if fails else nullcontext():
            write_text(tmp_path / "arch.yaml", "text")


def test_checksums(tmp_path):
    """Torch reads changed weights without a word."""
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(1000)}, path)
    check_sums(path)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + b"junk" + data[middle + 4 :])
    assert torch.load(path, weights_only=True)["a"].sum() != 1000
    with pytest.raises(
        ConfigError, match=r"weights.pth is damaged \(its part .*data/0"
    ):
        check_sums(path)
