"""One program at a time in a directory: also after kills and forks."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from espnet_stnas.errors import ConfigError, WriteError
from espnet_stnas.host.lock import LOCK, locked

HOLDER = """
import sys, time
from espnet_stnas.host.lock import locked
with locked(sys.argv[1], "search"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "exp")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_told_who_holds_it(tmp_path, holder):
    before = (tmp_path / "exp" / LOCK).read_bytes()
    message = (
        f"exp is in use by the search of process {holder.pid} on {platform.node()} "
        r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d; wait until it ends, or choose another "
        "output_dir$"
    )
    for _ in range(2):
        with pytest.raises(ConfigError, match=message), locked(tmp_path / "exp", "x"):
            pass
    assert (tmp_path / "exp" / LOCK).read_bytes() == before


def test_a_killed_process_loses_it(tmp_path, holder, caplog):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / "exp", "retraining"):
        own = json.loads((tmp_path / "exp" / LOCK).read_text())
        assert (own["pid"], own["purpose"]) == (os.getpid(), "retraining")
    assert f"the search of process {holder.pid} on" in caplog.text
    assert list((tmp_path / "exp").iterdir()) == []


def test_a_directory_that_stays_empty_is_removed_again(tmp_path):
    with locked(tmp_path / "a" / "b", "search"):
        assert (tmp_path / "a" / "b" / LOCK).exists()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b", "search"):
        (tmp_path / "a" / "result").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "result"]


def test_the_same_process_cannot_take_it_twice(tmp_path):
    with locked(tmp_path, "search"):
        with (
            pytest.raises(ConfigError, match=f"process {os.getpid()} on"),
            locked(tmp_path, "search"),
        ):
            pass
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    with locked(tmp_path, "search"):
        pass


def test_a_forked_worker_does_not_keep_it(tmp_path):
    """Such as one of a data loader, which outlives a killed parent for seconds."""
    context = multiprocessing.get_context("fork")
    with locked(tmp_path, "search"):
        worker = context.Process(target=time.sleep, args=(60,))
        worker.start()
    try:
        with locked(tmp_path, "search"):
            pass
    finally:
        worker.kill()
        worker.join()


def test_many_processes_one_at_a_time(tmp_path):
    """Taken, given back and removed again and again: never two at once."""
    code = """
import sys
from espnet_stnas.errors import ConfigError
from espnet_stnas.host.lock import locked
taken = 0
while taken < 40:
    try:
        with locked(sys.argv[1] + "/exp", "search"):
            with open(sys.argv[1] + "/inside", "x"):
                pass
            import os; os.unlink(sys.argv[1] + "/inside")
            taken += 1
    except ConfigError:
        pass
"""
    both = [subprocess.Popen([sys.executable, "-c", code, tmp_path]) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]


def signed(tmp_path, **changes) -> str:
    own = {"purpose": "search", "host": platform.node(), "pid": 1, "since": "today"}
    text = json.dumps({**own, **changes})
    (tmp_path / LOCK).write_text(text)
    return text


def no_locks(monkeypatch) -> None:
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


def test_without_locks_of_the_file_system_the_file_decides(tmp_path, monkeypatch):
    no_locks(monkeypatch)
    text = signed(tmp_path, pid=os.getppid())
    with pytest.raises(ConfigError, match="is in use"), locked(tmp_path, "search"):
        pass
    assert (tmp_path / LOCK).read_text() == text
    signed(tmp_path, pid=2**22 + 1)
    with (
        locked(tmp_path, "search"),
        pytest.raises(ConfigError, match=f"of process {os.getpid()} on"),
        locked(tmp_path, "search"),
    ):
        pass
    assert not (tmp_path / LOCK).exists()


def test_without_locks_another_machine_is_believed(tmp_path, monkeypatch):
    no_locks(monkeypatch)
    signed(tmp_path, host="node7")
    remedy = f"on node7 since today; .*, or remove .*{LOCK} if that process has ended"
    with pytest.raises(ConfigError, match=remedy), locked(tmp_path, "search"):
        pass


@pytest.mark.parametrize("damage", [b"", b"[", b"[]", b"\xff", b'{"pid": 1}'])
def test_damaged_files_of_dead_processes(tmp_path, monkeypatch, damage):
    for locks in (True, False):
        if not locks:
            no_locks(monkeypatch)
        (tmp_path / LOCK).write_bytes(damage)
        with locked(tmp_path, "search"):
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_no_place_for_it(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    with (
        pytest.raises(WriteError, match="link cannot be written: No such file"),
        locked(tmp_path / "link", "search"),
    ):
        pass
    with (
        pytest.raises(WriteError, match="file/exp cannot be written: Not a direct"),
        locked(tmp_path / "file" / "exp", "search"),
    ):
        pass
