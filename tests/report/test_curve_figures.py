from __future__ import annotations

import re

import matplotlib
import pytest

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report import curves
from espnet_stnas.report.drawing import figure_svg, save_figure
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
    save_figure(curves.probability_figure(SPACE, points_of(history(epochs))), path)
    assert path.read_bytes().startswith(magic)
    assert [p.name for p in path.parent.iterdir()] == [f"p.{suffix}"]


def test_probabilities_show_every_choice_and_candidate(tmp_path, monkeypatch):
    text = text_of(curves.probability_figure(SPACE, points()), tmp_path, monkeypatch)
    for label in ("layer 2", "layer 3", "layer 5", "layer 6", "tdnn-C2D2", "zero"):
        assert f">{label}<" in text
    assert ">layer 1<" not in text


def test_curves_go_through_the_probabilities():
    figure = curves.probability_figure(SPACE, points())
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
    figure = curves.probability_figure(space, [point])
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
    figure = curves.probability_figure(space, [point])
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 12


@pytest.mark.parametrize("epochs", [1, 3])
def test_certainty_shows_every_choice(tmp_path, monkeypatch, epochs):
    figure = curves.certainty_figure(SPACE, points_of(history(epochs)))
    text = text_of(figure, tmp_path, monkeypatch)
    for label in ("relative entropy", "margin", "epoch"):
        assert f">{label}<" in text
    found = [n for n in range(1, 8) if f">layer {n}<" in text]
    assert found == [2, 3, 5, 6]


def test_nothing_to_draw():
    for draw in (curves.probability_figure, curves.certainty_figure):
        with pytest.raises(ValueError, match="no epoch to draw"):
            draw(SPACE, [])
    assert curves.loss_figure(points()) is None
    assert curves.schedule_figure(points()) is None


def test_losses(tmp_path, monkeypatch):
    some = points(loss=2.0) + points(arch_loss=3.0)[2:] + points(valid_loss=2.5)
    figure = curves.loss_figure(some)
    (axis,) = figure.axes
    assert [len(line.get_xdata()) for line in axis.lines] == [6, 4, 6]
    assert axis.get_yscale() == "linear"
    text = text_of(figure, tmp_path, monkeypatch)
    assert ">architecture steps<" in text and ">weight steps<" in text
    # A first loss that is far above the others must not flatten them.
    assert curves.loss_figure([*points(loss=2.0), *points(loss=900.0)]).axes[
        0
    ].get_yscale() == ("log")


def test_temperature_and_cost(tmp_path, monkeypatch):
    figure = curves.schedule_figure(points(temperature=2.0))
    assert [axis.get_ylabel() for axis in figure.axes] == ["temperature"]
    some = points(temperature=2.0, cost=7e6, cost_argmax=8e6)
    figure = curves.schedule_figure(some, "parameters", target=6e6)
    assert [axis.get_ylabel() for axis in figure.axes] == ["temperature", "parameters"]
    text = text_of(figure, tmp_path, monkeypatch)
    for label in ("expected cost", "most probable architecture", "target"):
        assert f">{label}<" in text


def test_searches_side_by_side(tmp_path, monkeypatch):
    with_losses = ("one", points(arch_loss=2.0, loss=1.0))
    figure = curves.comparison_figure([with_losses, ("two", points())])
    assert [len(axis.lines) for axis in figure.axes] == [2, 1]
    text = text_of(figure, tmp_path, monkeypatch)
    assert ">one<" in text and ">two<" in text
    without = curves.comparison_figure([("one", points()), ("two", points())])
    assert len(without.axes) == 1


def test_a_loss_of_weight_steps_is_never_called_architecture_loss():
    """A search with joint steps has no other; a warm-up beside it has one more."""
    alternating = ("alternating", points(arch_loss=2.0, loss=1.0))
    joint = ("joint", points(loss=5.0))
    figure = curves.comparison_figure([alternating, joint])
    drawn = {
        a.get_title(): [max(li.get_ydata()) for li in a.lines] for a in figure.axes
    }
    assert drawn.pop("mean relative entropy")
    assert drawn == {"architecture loss": [2.0], "loss of weight steps": [5.0]}
    figure = curves.comparison_figure([joint, joint])
    assert [axis.get_title() for axis in figure.axes][1:] == ["loss of weight steps"]


def test_long_searches_make_small_figures():
    many = [
        type(m)(1, step, 5000, False, probabilities=m.probabilities)
        for m in points(1)[:1]
        for step in range(1, 5001)
    ]
    line = curves.probability_figure(SPACE, many).axes[0].lines[0]
    assert len(line.get_xdata()) <= 500
    assert line.get_xdata()[-1] == 1.0


def test_figures_of_one_page_do_not_use_shapes_of_each_other():
    svgs = [figure_svg(curves.loss_figure(points(loss=x)), str(x)) for x in (2.0, 3.0)]
    used = [set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) for svg in svgs]
    # Letters of a font are the same in all figures.
    shapes = [{i for i in ids if not i.startswith("DejaVu")} for ids in used]
    assert shapes[0] and not shapes[0] & shapes[1]
    assert svgs[0].startswith("<svg")
