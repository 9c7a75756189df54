"""What plotly gets is what matplotlib draws. ``tools/check_report.mjs`` tries it."""

from __future__ import annotations

import plotly.graph_objects
import pytest

from espnet_stnas.report.chart import Chart, Panel, Spot
from espnet_stnas.report.curves import loss_chart, probability_chart, schedule_chart
from espnet_stnas.report.paths import paths_chart
from espnet_stnas.report.tradeoff import Point, tradeoff_chart
from espnet_stnas.results.health import Health, Sample
from tests.report.spaces import SPACE, points


def figures(chart: Chart) -> list[dict]:
    """Those of all panels; plotly refuses what it does not know."""
    found = chart.on_page("test")["data"]
    for figure in found:
        assert figure["layout"]["xaxis"]["type"] in ("linear", "log")
        plotly.graph_objects.Figure(without_variables(figure))
    return found


def without_variables(value):
    """Plotly's own check accepts no variables; the page replaces them."""
    if isinstance(value, dict):
        return {k: without_variables(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_variables(v) for v in value]
    return "#000000" if str(value).startswith("var(--") else value


def test_curves_have_the_places_of_the_data():
    chart = probability_chart(SPACE, points())
    found = figures(chart)
    assert len(found) == len(chart.panels) == 4
    first, second = found[0]["data"]
    assert (first["name"], second["name"]) == ("tdnn-C1D1", "tdnn-C2D2")
    assert first["x"] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert first["y"] == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    assert first["hovertemplate"].startswith("tdnn-C1D1: %{y")
    assert found[0]["layout"]["title"]["text"] == "layer 2"
    # The warm-up, to its end.
    (shade,) = found[0]["layout"]["shapes"]
    assert (shade["x0"], shade["x1"], shade["yref"]) == (0, 1, "paper")


def test_a_line_has_the_colour_and_the_legend_entry_of_its_label():
    chart = probability_chart(SPACE, points())
    labels = [label for _, label in chart.on_page("test")["entries"]]
    looks = {}
    for figure in figures(chart):
        for trace in figure["data"]:
            assert labels[trace["meta"]] == trace["name"]
            line = trace["line"]
            look = (line["color"], line["dash"], trace["marker"]["symbol"])
            assert looks.setdefault(trace["name"], look) == look
            assert line["color"].startswith("var(--c")
    assert len(set(looks.values())) == len(looks) == len(labels)


def test_logarithmic_axes_have_limits_in_powers_of_ten():
    wide = [*points(loss=2.0), *points(loss=900.0)]
    (figure,) = figures(loss_chart(wide))
    axis = figure["layout"]["yaxis"]
    assert axis["type"] == "log"
    assert axis["range"][0] < 0.302 and 2.95 < axis["range"][1] < 4


def test_limits_are_lines_across_the_axes():
    some = points(cost=7e6, cost_argmax=8e6)
    (figure,) = figures(schedule_chart(some, "parameters", target=6e6))
    assert [trace["name"] for trace in figure["data"]] == [
        "expected cost",
        "most probable architecture",
    ]
    line = figure["layout"]["shapes"][-1]
    assert (line["xref"], line["yref"]) == ("paper", "y")
    assert (line["y0"], line["y1"]) == (6e6, 6e6)
    assert line["line"]["dash"] == "dot"


def test_areas():
    samples = [Sample(e, 20, 90, 5.0 - e, 0.5, 0.1) for e in (1, 2, 3)]
    (figure,) = figures(paths_chart(Health(samples=tuple(samples)), 1))
    area, line = figure["data"]
    assert area["fill"] == "toself" and area["hoverinfo"] == "skip"
    assert min(area["y"]) == 1.5 and max(area["y"]) == 4.5
    assert line["y"] == [4, 3, 2]


def test_errors_against_costs():
    some = [Point('a<"b"', 1000.0, 9.0, 0.5), Point("c", 2000.0, 5.0)]
    (figure,) = figures(tradeoff_chart(some, "parameters", "wer"))
    front, searched, others = figure["data"]
    assert front["mode"] == "lines" and front["line"]["shape"] == "hv"
    assert searched["mode"] == others["mode"] == "markers"
    assert searched["text"] == [
        'a&lt;"b" (weight 0.5)<br>1,000 parameters<br>WER 9.00 %'
    ]
    assert figure["layout"]["xaxis"]["tickformat"] == ",.0f"
    texts = [note["text"] for note in figure["layout"]["annotations"]]
    assert texts == ["1", "2"]


def test_names_at_an_axis_and_points_without_a_text():
    def draw(axis) -> None:
        axis.plot([1, 3], [0, 0])
        axis.plot([2], [0], "D", label="own")
        axis.set_yticks([0, 1], ["first", "second"])
        axis.set_ylim(1.5, -0.5)

    spots = [Spot(2, 0, "one\ntwo"), Spot(2, 0, "three")]
    (figure,) = figures(Chart([Panel(draw, "", spots)]))
    bar, point = figure["data"]
    assert bar["hoverinfo"] == "skip" and bar["meta"] is None
    assert point["text"] == ["one<br>two<br>three"]
    axis = figure["layout"]["yaxis"]
    assert (axis["tickvals"], axis["ticktext"]) == ([0, 1], ["first", "second"])
    assert axis["range"] == [1.5, -0.5]
