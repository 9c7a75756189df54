"""What a search writes down while it runs."""

from __future__ import annotations

import json
import math

import pytest

from espnet_stnas.results.curves import (
    CurvePoint,
    note_run,
    points_of,
    read_curves,
    read_runs,
    start_epoch,
    write_point,
)
from tests.report.spaces import history

MOMENT = CurvePoint(2, 5, 10, False, loss=1.5, probabilities=((0.25, 0.75),))


def test_what_is_written_is_read(tmp_path):
    for epoch in (1, 2, 10):
        start_epoch(tmp_path, epoch)
        write_point(tmp_path, CurvePoint(epoch, 10, 10, epoch == 1, cost=3.0))
    write_point(tmp_path, CurvePoint(10, 12, 0, False))
    found = read_curves(tmp_path)
    assert [(m.epoch, m.step, m.warmup) for m in found] == [
        *((1, 10, True), (2, 10, False), (10, 10, False), (10, 12, False))
    ]
    assert found[0].cost == 3.0
    # The length of an epoch that ESPnet does not know is what was seen of it.
    assert found[-1].steps == 12


def test_time_runs_in_epochs():
    assert MOMENT.at == 1.5
    assert CurvePoint(1, 10, 10, False).at == 1.0


def test_an_epoch_that_was_cut_off_is_written_anew(tmp_path):
    for epoch in (1, 2, 3):
        start_epoch(tmp_path, epoch)
        write_point(tmp_path, CurvePoint(epoch, 1, 2, False))
    start_epoch(tmp_path, 2)
    assert [m.epoch for m in read_curves(tmp_path)] == [1]
    write_point(tmp_path, MOMENT)
    assert read_curves(tmp_path)[1] == MOMENT
    assert sorted(p.name for p in (tmp_path / "curves").iterdir()) == [
        *("1epoch.jsonl", "2epoch.jsonl")
    ]


def test_numbers_that_are_not_finite_are_unknown(tmp_path):
    start_epoch(tmp_path, 1)
    write_point(tmp_path, CurvePoint(1, 1, 1, False, loss=math.nan, arch_loss=math.inf))
    (found,) = read_curves(tmp_path)
    assert (found.loss, found.arch_loss) == (None, None)


@pytest.mark.parametrize(
    "line",
    [
        '{"epoch": 1, "step": 1',
        "[1]",
        "[" * 100_000,
        '{"epoch": 1}',
        '{"epoch": 2, "step": 1, "steps": 1, "warmup": false}',
        '{"epoch": 1, "step": -1, "steps": 1, "warmup": false}',
        '{"epoch": 1, "step": 1, "steps": 1, "warmup": 0}',
        '{"epoch": 1, "step": 1, "steps": 1, "warmup": false, "loss": "1"}',
        '{"epoch": 1, "step": 1, "steps": 1, "warmup": false, "loss": NaN}',
        '{"epoch": 1, "step": 1, "steps": 1, "warmup": false, "other": 1}',
        '{"epoch": 1, "step": 1, "steps": 1, "warmup": false, "probabilities": [[2]]}',
        f'{{"epoch": 1, "step": {"9" * 400}, "steps": 1, "warmup": false}}',
        "\x00\ufffd",
    ],
)
def test_damaged_lines_are_left_out(tmp_path, line):
    start_epoch(tmp_path, 1)
    write_point(tmp_path, CurvePoint(1, 1, 2, False))
    with open(tmp_path / "curves" / "1epoch.jsonl", "a") as file:
        file.write(line + "\n")
    write_point(tmp_path, CurvePoint(1, 2, 2, False))
    assert [m.step for m in read_curves(tmp_path)] == [1, 2]


def test_searches_without_curves(tmp_path):
    assert read_curves(tmp_path) == []
    assert read_runs(tmp_path) == []
    found = points_of(history(2))
    assert [(m.at, m.warmup) for m in found] == [(1.0, True), (2.0, False)]
    assert found[1].probabilities[0] == pytest.approx((0.2, 0.8))


def test_starts_add_up(tmp_path):
    note_run(tmp_path, command=["a"], started="then")
    note_run(tmp_path, command=["b"], started="later")
    assert [run["command"] for run in read_runs(tmp_path)] == [["a"], ["b"]]
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"command": ["a"], "started": "then"}
