from __future__ import annotations

import pytest
from matplotlib.colors import to_hex

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.drawing import LINE, save_figure, style
from espnet_stnas.report.graph import architecture_drawing, sizes, times
from espnet_stnas.report.looks import looks_of
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.layer_table import architecture_rows, layer_rows
from tests.conftest import tiny_space
from tests.report.spaces import SPACE, history

BLOCKS = [
    "tdnn-C1S3D1",
    {
        "residual": {
            "body": [
                "tdnn-C1D1",
                {"bidirectional": {"forward": ["lstm"], "backward": ["gru", "tdnn"]}},
            ],
            "shortcut": "identity",
        }
    },
    "tdnn-C1D2",
    {
        "cell": {
            "nodes": [["tdnn-C1D1", "ff"], ["tdnn-C2D1"]],
            "skips": [["identity"], ["zero", "tdnn-C0D1"]],
        }
    },
    "norm",
]


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("layers", [["tdnn"], BLOCKS])
def test_every_layer_has_a_box(layers):
    space = tiny_space(*layers, width=8)
    figure = architecture_drawing(space, layer_rows(space, input_size=5)).figure()
    (axis,) = figure.axes
    boxes = [p for p in axis.patches if type(p).__name__ == "FancyBboxPatch"]
    assert len(boxes) == len(space.layers)
    for layer in space.layers:
        assert str(layer.candidates[0]) in texts(figure)


def test_nothing_overlaps_or_is_cut_off():
    space = tiny_space(*BLOCKS, width=8)
    figure = architecture_drawing(space, layer_rows(space, input_size=5)).figure()
    (axis,) = figure.axes
    boxes = []
    for patch in axis.patches:
        if type(patch).__name__ == "FancyBboxPatch":
            left, bottom = patch.get_x(), patch.get_y()
            boxes.append(
                (left, bottom, left + patch.get_width(), bottom + patch.get_height())
            )
    (x0, x1), (y0, y1) = axis.get_xlim(), axis.get_ylim()
    for k, (a0, b0, a1, b1) in enumerate(boxes):
        assert x0 <= a0 and a1 <= x1 and y0 <= b0 and b1 <= y1
        for c0, d0, c1, d1 in boxes[:k]:
            assert a1 <= c0 or c1 <= a0 or b1 <= d0 or d1 <= b0


def test_blocks_are_drawn_as_what_they_are():
    space = tiny_space(*BLOCKS, width=8)
    shown = texts(architecture_drawing(space, layer_rows(space)).figure())
    assert shown.count("+") == 1
    assert shown.count("side by side") == 1
    assert "reversed in time" in shown
    assert shown.count("from the input") == 2
    assert shown.count("from node 1") == shown.count("+ (node 2)") == 1


def test_boxes_say_what_is_known():
    architecture = history()[-1]
    rows = architecture_rows(architecture, [[n] for n in range(1000, 1007)])
    assert sizes(rows[1]) == "width 8, 1,001 parameters, p = 0.70"
    assert times(rows[1]) == "sees 17 frames"
    assert times(rows[3]) == "1 frame in 3, sees 21 frames"
    unknown = layer_rows(architecture.space)
    assert sizes(unknown[1]) == ""
    shown = texts(architecture_drawing(architecture.space, rows).figure())
    assert "width 8, 1,001 parameters, p = 0.70" in shown


def test_data_go_from_input_to_output():
    space = tiny_space(*BLOCKS, width=8)
    drawing = architecture_drawing(space, layer_rows(space, input_size=5))
    (axis,) = drawing.figure().axes
    places = {t.get_text(): t.get_position()[1] for t in axis.texts}
    layers = [places[str(layer.candidates[0])] for layer in space.layers]
    assert places["input"] > max(layers) and places["output"] < min(layers)
    assert axis.get_ylim()[0] < places["output"]
    assert "from input to output: tdnn-C1S3D1, " in drawing.alt


def test_skips_are_ways_around_a_layer():
    space = tiny_space("tdnn-C1D1", "tdnn-C1D1", residual=True, width=5)
    drawing = architecture_drawing(space, layer_rows(space, input_size=4))
    (axis,) = drawing.figure().axes
    # The first layer changes the width: no skip goes around it.
    assert [t.get_text() for t in axis.texts].count("+") == 1
    assert drawing.alt.endswith("tdnn-C1D1, tdnn-C1D1 with a skip.")
    (_, box) = [p for p in axis.patches if type(p).__name__ == "FancyBboxPatch"]
    ((x, y),) = (line.get_data() for line in axis.lines if len(line.get_xdata()) == 3)
    # It leaves above the box, passes on its left, and joins below it.
    assert x[0] == 0 and max(x[1:]) < box.get_x()
    assert y[0] > box.get_y() + box.get_height() and y[-1] < box.get_y()
    without = tiny_space("tdnn-C1D1", "tdnn-C1D1", residual=False, width=5)
    plain = architecture_drawing(without, layer_rows(without, input_size=4))
    assert "+" not in texts(plain.figure()) and "skip" not in plain.alt


def test_searched_layers_have_the_look_of_their_operation():
    architecture = history()[-1]
    rows = architecture_rows(architecture)
    looks = looks_of([SPACE])
    (axis,) = architecture_drawing(architecture.space, rows, looks).figure().axes
    edges = [to_hex(p.get_edgecolor()) for p in axis.patches]
    marks = [
        (to_hex(m.get_color()), m.get_marker())
        for m in axis.lines
        if m.get_marker() != "None"
    ]
    expected = [style(looks[r.op]) for r in rows if r.pi is not None]
    assert marks == [(e["color"].lower(), e["marker"]) for e in expected]
    found = [e for e, row in zip(edges, rows, strict=True) if row.pi is not None]
    assert found == [colour for colour, _ in marks]
    assert {e for e, r in zip(edges, rows, strict=True) if r.pi is None} == {LINE}
    # Alone, the candidates are known from the probabilities.
    (own,) = architecture_drawing(architecture.space, rows).figure().axes
    assert [to_hex(p.get_edgecolor()) for p in own.patches] == edges


def test_deep_architectures_can_be_saved(tmp_path):
    """More pixels than matplotlib draws at the usual resolution."""
    layers = [{"repeat": 600, "layers": ["tdnn"]}]
    space = SearchSpace.from_conf({"width": 2, "layers": layers})
    rows = architecture_rows(Architecture(space))
    save_figure(architecture_drawing(space, rows).figure(), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 1000
