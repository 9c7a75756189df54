"""What is shown of the logs of searches, trainings and decodings."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from watch import Watcher, in_words

RECIPE = Path(__file__).parents[3] / "egs2" / "digits" / "asr_stnas1"
# Lines of ESPnet 202511, shortened.
TRAINING = """\
[host] 2026-01-01 10:00:00 (trainer:311) INFO: 1/4epoch started
[host] INFO: 1epoch:train:1-20batch: iter_time=0.05, loss_ctc=50.5, loss=50.5, lr=0.1
[host] INFO: 1epoch results: [train] iter_time=0.005, loss_ctc=31.2, loss=31.25, \
backward_time=0.02, [valid] loss_ctc=29.1, cer_ctc=0.5, loss=29.125, total_count=7
[host] INFO: 2/4epoch started. Estimated time to finish: 4.5 seconds
[host] INFO: 2epoch results: [train] loss=1e-3, [valid] loss=nan, total_count=14
""".splitlines()
STEP = "epoch 1/2 (warm-up), step 20/40: loss 3.5, 2 minutes left"
SEARCH = f"""\
[host] INFO: 1/2epoch started
[host] INFO: {STEP}
[host] INFO: 1epoch:train:1-20batch: loss=50.5
[host] INFO: 1epoch results: [train] arch_loss=7.0, loss=3.0, [valid] loss=2.0, time=1
[host] INFO: Signs of the arg max: layer 1: 1 tdnn-C1D1, 2 tdnn-C2D1
""".splitlines()


def shown(lines: list[str], seconds: float = 10.0, utterances: int = 0) -> list[str]:
    """What is shown, a line after every ``seconds``."""
    watcher = Watcher(utterances)
    found = (watcher.read(line, n * seconds) for n, line in enumerate(lines))
    return [text + (" *" if stays else "") for text, stays in filter(None, found)]


def test_losses_and_time_left_of_a_training() -> None:
    assert shown(TRAINING) == [
        "epoch 1/4 started",
        "epoch 1/4, step 20: loss 50.5",
        "epoch 1/4: loss 31.25, on dev loss 29.12, 1 min 0 s left *",
        "epoch 2/4 started",
        "epoch 2/4: loss 0.001, on dev loss nan, 40 s left *",
    ]


def test_time_left_of_a_training_that_goes_on() -> None:
    """By the epochs of this start: the third of four took 20 s, one is left."""
    lines = [
        line.replace("1/4", "3/4").replace("1epoch", "3epoch") for line in TRAINING[:3]
    ]
    assert shown(lines)[2].endswith("20 s left *")


def test_a_search_shows_its_own_lines_and_the_key_to_them() -> None:
    """One estimate of the time left: the search's."""
    assert shown(SEARCH) == [
        "epoch 1/2 started",
        STEP,
        "epoch 1/2: loss 3, on dev loss 2 *",
        "Signs of the arg max: layer 1: 1 tdnn-C1D1, 2 tdnn-C2D1 *",
    ]


def test_decodings_are_counted() -> None:
    lines = ["INFO: speech length: 9", "INFO: best hypo: one", "INFO: best hypo: "]
    wanted = ["decoded 1 of 3 utterances", "decoded 2 of 3 utterances"]
    assert shown(lines, utterances=3) == wanted
    bar = "decoding:  50%|=====     | 12/24 [00:01<00:01,  9.9utt/s]"
    assert shown([bar]) == ["decoded 12 of 24 utterances"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3723, "62 min 3 s")]
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def watch(lines: list[str], stdout: int) -> None:
    command = [sys.executable, str(RECIPE / "local" / "watch.py")]
    text = "\n".join(lines) + "\n"
    subprocess.run(command, input=text.encode(), stdout=stdout, check=True)


def test_lines_are_as_long_as_the_terminal_is_wide() -> None:
    """Passing ones, each in place of the one before; others stay as they are."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    watch(SEARCH, follower)
    found = os.read(leader, 10_000).decode().split("\r\033[K")
    assert found[2] == STEP[:40]
    assert found[3] == "epoch 1/2: loss 3, on dev loss 2\r\n"
    assert found[4].startswith("Signs of the arg max: layer 1: 1 tdnn-C1D1, 2")


def test_passing_lines_are_rare_without_a_terminal(tmp_path: Path) -> None:
    with open(tmp_path / "shown", "wb") as file:
        watch([*TRAINING, *SEARCH], file.fileno())
    assert (tmp_path / "shown").read_text().splitlines() == [
        "epoch 1/4 started",
        *STAY,
    ]


STAY = (
    "epoch 1/4: loss 31.25, on dev loss 29.12, 0 s left",
    "epoch 2/4: loss 0.001, on dev loss nan, 0 s left",
    "epoch 1/2: loss 3, on dev loss 2",
    "Signs of the arg max: layer 1: 1 tdnn-C1D1, 2 tdnn-C2D1",
)
