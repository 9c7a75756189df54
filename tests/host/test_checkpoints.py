from __future__ import annotations

import datetime
import io

import numpy as np
import pytest
import torch
from espnet2.train.reporter import Reporter

from espnet_stnas.host.checkpoints import whole_saves


def load(path) -> int:
    return torch.load(path)["epoch"]


def save_epoch(directory, epoch: int) -> None:
    """As ESPnet's trainer does."""
    Reporter().set_epoch(epoch)
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


@pytest.mark.parametrize("next_step", ["next epoch", "average"])
def test_checkpoint_comes_after_all_else_of_its_epoch(tmp_path, next_step):
    """At every moment, model and links of the checkpoint's epoch are complete."""
    set_epoch = Reporter.set_epoch
    with whole_saves():
        save_epoch(tmp_path, 1)
        save_epoch(tmp_path, 2)
        assert load(tmp_path / "checkpoint.pth") == 1
        assert load(tmp_path / "2epoch.pth") == 2
        if next_step == "next epoch":
            Reporter().set_epoch(3)
        else:
            torch.save({"epoch": 2}, str(tmp_path / "valid.loss.ave_2best.pth"))
        assert load(tmp_path / "checkpoint.pth") == 2
    assert Reporter.set_epoch is set_epoch


def test_checkpoints_hold_plain_values_only(tmp_path):
    """What the reporter of ESPnet 202511 puts in; tensors and state dicts stay."""
    model = torch.nn.BatchNorm1d(2).state_dict()
    stats = {"loss": np.float64(0.1), "time": datetime.timedelta(seconds=1.5), "n": 2}
    state = {"model": model, "reporter": {1: stats}, "list": [(np.float32(0.5),)]}
    with whole_saves():
        torch.save(state, tmp_path / "checkpoint.pth")
    loaded = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    assert loaded["reporter"] == {
        1: {"loss": 0.1, "time": {"__timedelta_seconds__": 1.5}, "n": 2}
    }
    assert loaded["list"] == [(0.5,)]
    assert loaded["model"].keys() == model.keys()
    assert loaded["model"]._metadata == model._metadata


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
