"""What the report shows of evaluated architectures."""

from __future__ import annotations

import math

import pytest

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.cost.counts import parameter_table
from espnet_stnas.report import evaluated as module
from espnet_stnas.report.evaluated import (
    Evaluated,
    EvaluatedPoint,
    evaluated_chart,
)
from espnet_stnas.selection.evaluation import Evaluation
from espnet_stnas.selection.log import Conditions, EvaluationLog
from espnet_stnas.selection.paths import all_paths
from tests.report.spaces import SPACE, experiment
from tests.report.test_page import Page, without_plotly

CHOSEN = (1, 0, 1, 2)
PATHS = all_paths(SPACE)
# Larger is better, more or less.
LOSSES = {path: 9 - sum(path[:2]) + 0.1 * n for n, path in enumerate(PATHS)}
TABLE = parameter_table(SPACE, 40)


def conditions(epoch: int) -> Conditions:
    return Conditions(epoch, f"weights{epoch}", "data", 0)


def evaluated(losses=LOSSES, chosen=CHOSEN) -> Evaluated:
    points = [
        EvaluatedPoint(path, loss, 0.5, int(TABLE.of(path)))
        for path, loss in losses.items()
    ]
    return Evaluated.of(points, SPACE, 3, "valid", chosen)


def beaten(path) -> bool:
    """Whether another one is as small and better, or as good and smaller."""
    own = TABLE.of(path), LOSSES[path]
    return any(
        TABLE.of(other) <= own[0] and LOSSES[other] <= own[1] and other != path
        for other in PATHS
    )


def test_ranks_and_front():
    found = evaluated()
    order = sorted(PATHS, key=lambda path: LOSSES[path])
    assert [p.path for p in found.points] == order
    assert [p.path for p in found.front] == sorted(
        (path for path in PATHS if not beaten(path)), key=TABLE.of
    )
    own = TABLE.of(CHOSEN)
    small = [path for path in order if TABLE.of(path) <= own]
    assert found.sentence == (
        "36 of 36 architectures were evaluated with the shared weights of epoch 3 on "
        f"the data set 'valid': by its loss of {LOSSES[CHOSEN]:.4g}, the architecture "
        f"above is number {order.index(CHOSEN) + 1} of all, and number "
        f"{small.index(CHOSEN) + 1} of the {len(small)} that have no more than its "
        f"{own:,.0f} parameters."
    )
    ranks = [rank for rank, _, _ in found.best]
    assert ranks[:10] == list(range(1, 11)) and len(set(ranks)) == len(ranks)
    notes = {p.path: note for _, p, note in found.best}
    assert notes[CHOSEN].startswith("chosen")
    assert "Pareto front" in notes[order[0]]


def test_what_is_not_known():
    few = {path: LOSSES[path] for path in PATHS[:3]} | {PATHS[4]: math.nan}
    found = evaluated(few)
    assert "; the architecture above is not among them." in found.sentence
    assert found.points[-1].path == PATHS[4]
    assert PATHS[4] not in {p.path for p in (*found.drawn, *found.front)}
    plain = Evaluated.of([EvaluatedPoint(CHOSEN, 1.0)], SPACE, 1, "train", CHOSEN)
    assert plain.sentence.endswith("is number 1 of all.")
    assert evaluated_chart(plain) is None and not plain.has_errors


def test_many_points_are_thinned_out(monkeypatch):
    monkeypatch.setattr(module, "_POINTS", 5)
    found = evaluated()
    shown = {p.path for p in found.drawn}
    assert {p.path for p in found.front} | {CHOSEN} <= shown
    assert len(shown) <= 5 + len(found.front) + 1


def test_every_point_of_the_page_says_what_it_is():
    (panel,) = evaluated_chart(evaluated()).on_page("test")["data"]
    some, front, chosen = panel["data"]
    assert len(some["text"]) == 36 and all(some["text"])
    own = int(TABLE.of(CHOSEN))
    assert (chosen["x"], chosen["y"]) == ([own], [pytest.approx(LOSSES[CHOSEN])])
    assert chosen["text"] == [
        "tdnn-C2D2 tdnn-C1D1 zero identity<br>"
        f"{own:,} parameters, loss {LOSSES[CHOSEN]:.5g}<br>token errors 50.00 %"
    ]
    # The step line of the front says the same at its corners.
    assert front["line"]["shape"] == "hv" and all(front["text"])


@pytest.fixture
def page(tmp_path) -> str:
    """Of a search with evaluations of two epochs."""
    exp = experiment(tmp_path / "exp")
    log = EvaluationLog(exp / "evaluations" / "valid.csv", SPACE)
    log.append(conditions(2), {CHOSEN: Evaluation(99.0, 0.9)})
    log.append(conditions(3), {p: Evaluation(LOSSES[p], 0.25) for p in PATHS})
    stnas(["report", str(exp)])
    assert (exp / "report" / "evaluated.png").exists()
    return (exp / "report" / "report.html").read_text()


def test_page(page, capsys):
    found = Page(page)
    assert all(place.startswith("data:image/png;base64,") for place in found.fetched)
    assert "36 of 36 architectures were evaluated" in found.text
    assert "epoch 3" in found.text and "99.0" not in found.text
    assert "token errors %" in found.text and "25.00" in found.text
    assert len(without_plotly(page)) < 400_000


def test_page_without_evaluations(tmp_path, capsys):
    exp = experiment(tmp_path / "exp")
    stnas(["report", str(exp)])
    page = (exp / "report" / "report.html").read_text()
    assert "shared weights say" not in page
