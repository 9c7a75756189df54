from __future__ import annotations

import io

import pytest
import torch

from espnet_stnas.saving import whole_saves


def load(path) -> int:
    return torch.load(path)["epoch"]


def save_epoch(directory, epoch: int) -> None:
    """As ESPnet's trainer does."""
    torch.save({"epoch": epoch}, directory / "checkpoint.pth")
    torch.save({"epoch": epoch}, directory / f"{epoch}epoch.pth")


def test_files_are_there_in_the_end_and_nothing_else(tmp_path):
    original = torch.save
    with whole_saves():
        save_epoch(tmp_path, 1)
        save_epoch(tmp_path, 2)
    assert torch.save is original
    assert load(tmp_path / "checkpoint.pth") == 2
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"checkpoint.pth", "1epoch.pth", "2epoch.pth"}


def test_checkpoint_comes_after_the_model_of_its_epoch(tmp_path):
    """At every moment, the model of the checkpoint's epoch is complete."""
    with whole_saves():
        save_epoch(tmp_path, 1)
        torch.save({"epoch": 2}, tmp_path / "checkpoint.pth")
        assert load(tmp_path / "checkpoint.pth") == 1
        torch.save({"epoch": 2}, str(tmp_path / "2epoch.pth"))
        assert load(tmp_path / "checkpoint.pth") == 2


def test_a_checkpoint_alone_is_published_in_the_end(tmp_path):
    with whole_saves():
        torch.save({"epoch": 1}, tmp_path / "checkpoint.pth")
    assert load(tmp_path / "checkpoint.pth") == 1


@pytest.mark.parametrize("name", ["checkpoint.pth", "2epoch.pth"])
def test_failure_leaves_the_old_state(tmp_path, monkeypatch, name):
    """A full disk while the file `name` of the second epoch is half-written."""
    original = torch.save

    def full_disk(obj, f, *args):
        if obj == {"epoch": 2} and f.name == f".{name}.partial":
            f.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        original(obj, f, *args)

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"), whole_saves():
        save_epoch(tmp_path, 1)
        save_epoch(tmp_path, 2)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.pth", "1epoch.pth"}
    assert load(tmp_path / "checkpoint.pth") == 1


def test_streams_are_passed_on():
    stream = io.BytesIO()
    with whole_saves():
        torch.save({"epoch": 3}, stream)
    stream.seek(0)
    assert torch.load(stream)["epoch"] == 3
