from __future__ import annotations

import matplotlib
import pytest

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report import curves
from espnet_stnas.report.drawing import save_figure
from espnet_stnas.results.curves import points_of
from tests.report.spaces import SPACE, history, points


def text_of(figure, tmp_path, monkeypatch) -> str:
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    save_figure(figure, tmp_path / "f.svg")
    return (tmp_path / "f.svg").read_text()


@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
@pytest.mark.parametrize("epochs", [1, 3])
def test_figures_are_written_whole(tmp_path, suffix, magic, epochs):
    path = tmp_path / "figures" / f"p.{suffix}"
    chart = curves.probability_chart(SPACE, points_of(history(epochs)))
    save_figure(chart.figure(), path)
    assert path.read_bytes().startswith(magic)
    assert [p.name for p in path.parent.iterdir()] == [f"p.{suffix}"]


def test_probabilities_show_every_choice_and_candidate(tmp_path, monkeypatch):
    text = text_of(
        curves.probability_chart(SPACE, points()).figure(), tmp_path, monkeypatch
    )
    for label in ("layer 2", "layer 3", "layer 5", "layer 6", "tdnn-C2D2", "zero"):
        assert f">{label}<" in text
    assert ">layer 1<" not in text


def test_curves_go_through_the_probabilities():
    figure = curves.probability_chart(SPACE, points()).figure()
    line = figure.axes[0].get_lines()[0]
    assert list(line.get_xdata()) == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert list(line.get_ydata()) == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    # The warm-up is shaded to its end.
    (shade,) = figure.axes[0].patches
    assert shade.get_x() + shade.get_width() == 1.0


def test_a_candidate_looks_the_same_in_all_panels():
    space = SearchSpace.from_conf(
        {"width": 8, "layers": [["tdnn-C1D1", "zero"], ["zero", "tdnn-C2D1"]]}
    )
    (only, *_) = points(1)
    point = type(only)(1, 1, 1, False, probabilities=((0.5, 0.5), (0.3, 0.7)))
    figure = curves.probability_chart(space, [point]).figure()
    looks = {
        (line.get_label(), line.get_color(), line.get_linestyle())
        for axis in figure.axes
        for line in axis.get_lines()
    }
    assert len(looks) == 3


def test_more_candidates_than_colours_differ():
    names = [f"tdnn-C{c}D{d}" for c in (1, 2, 3) for d in (1, 2, 3, 4)]
    space = SearchSpace.from_conf({"width": 8, "layers": [names]})
    (only, *_) = points(1)
    point = type(only)(1, 1, 1, False, probabilities=((1 / 12,) * 12,))
    figure = curves.probability_chart(space, [point]).figure()
    lines = figure.axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 12
    # Without colours, too.
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == 12


@pytest.mark.parametrize("epochs", [1, 3])
def test_certainty_shows_every_choice(tmp_path, monkeypatch, epochs):
    figure = curves.certainty_chart(SPACE, points_of(history(epochs))).figure()
    text = text_of(figure, tmp_path, monkeypatch)
    for label in ("relative entropy", "margin", "epoch"):
        assert f">{label}<" in text
    found = [n for n in range(1, 8) if f">layer {n}<" in text]
    assert found == [2, 3, 5, 6]


def test_nothing_to_draw():
    for draw in (curves.probability_chart, curves.certainty_chart):
        with pytest.raises(ValueError, match="no epoch to draw"):
            draw(SPACE, [])
    assert curves.loss_chart(points()) is None
    assert curves.schedule_chart(points()) is None


def test_losses(tmp_path, monkeypatch):
    some = points(loss=2.0) + points(arch_loss=3.0)[2:] + points(valid_loss=2.5)
    figure = curves.loss_chart(some).figure()
    (axis,) = figure.axes
    assert [len(line.get_xdata()) for line in axis.lines] == [6, 4, 6]
    assert axis.get_yscale() == "linear"
    text = text_of(figure, tmp_path, monkeypatch)
    assert ">architecture steps<" in text and ">weight steps<" in text
    # A first loss that is far above the others must not flatten them.
    wide = curves.loss_chart([*points(loss=2.0), *points(loss=900.0)]).figure()
    assert wide.axes[0].get_yscale() == "log"


def test_temperature_and_cost(tmp_path, monkeypatch):
    figure = curves.schedule_chart(points(temperature=2.0)).figure()
    assert [axis.get_ylabel() for axis in figure.axes] == ["temperature"]
    some = points(temperature=2.0, cost=7e6, cost_argmax=8e6)
    figure = curves.schedule_chart(some, "parameters", target=6e6).figure()
    assert [axis.get_ylabel() for axis in figure.axes] == ["temperature", "parameters"]
    text = text_of(figure, tmp_path, monkeypatch)
    for label in ("expected cost", "most probable architecture", "target"):
        assert f">{label}<" in text


def test_searches_side_by_side(tmp_path, monkeypatch):
    with_losses = ("one", points(arch_loss=2.0, loss=1.0))
    figure = curves.comparison_chart([with_losses, ("two", points())]).figure()
    assert [len(axis.lines) for axis in figure.axes] == [2, 1]
    text = text_of(figure, tmp_path, monkeypatch)
    assert ">one<" in text and ">two<" in text
    without = curves.comparison_chart([("one", points()), ("two", points())])
    assert len(without.panels) == 1


def test_a_loss_of_weight_steps_is_never_called_architecture_loss():
    """A search with joint steps has no other; a warm-up beside it has one more."""
    alternating = ("alternating", points(arch_loss=2.0, loss=1.0))
    joint = ("joint", points(loss=5.0))
    figure = curves.comparison_chart([alternating, joint]).figure()
    drawn = {
        a.get_title(): [max(li.get_ydata()) for li in a.lines] for a in figure.axes
    }
    assert drawn.pop("mean relative entropy")
    assert drawn == {"architecture loss": [2.0], "loss of weight steps": [5.0]}
    figure = curves.comparison_chart([joint, joint]).figure()
    assert [axis.get_title() for axis in figure.axes][1:] == ["loss of weight steps"]


def test_long_searches_make_small_figures():
    many = [
        type(m)(1, step, 5000, False, probabilities=m.probabilities)
        for m in points(1)[:1]
        for step in range(1, 5001)
    ]
    line = curves.probability_chart(SPACE, many).figure().axes[0].lines[0]
    assert len(line.get_xdata()) <= 500
    assert line.get_xdata()[-1] == 1.0
