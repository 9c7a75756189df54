from __future__ import annotations

import pytest

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.drawing import save_figure
from espnet_stnas.report.graph import architecture_figure, sizes, times
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.layer_table import architecture_rows, layer_rows
from tests.conftest import tiny_space
from tests.report.spaces import history

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
    figure = architecture_figure(space, layer_rows(space, input_size=5))
    (axis,) = figure.axes
    boxes = [p for p in axis.patches if type(p).__name__ == "FancyBboxPatch"]
    assert len(boxes) == len(space.layers)
    for layer in space.layers:
        assert str(layer.candidates[0]) in texts(figure)


def test_nothing_overlaps_or_is_cut_off():
    space = tiny_space(*BLOCKS, width=8)
    figure = architecture_figure(space, layer_rows(space, input_size=5))
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
    shown = texts(architecture_figure(space, layer_rows(space)))
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
    shown = texts(architecture_figure(architecture.space, rows))
    assert "width 8, 1,001 parameters, p = 0.70" in shown


def test_skips_are_drawn():
    def arrows(residual: bool) -> int:
        space = tiny_space("tdnn-C1D1", "tdnn-C1D1", residual=residual, width=5)
        figure = architecture_figure(space, layer_rows(space, input_size=4))
        curved = [
            t
            for t in figure.axes[0].texts
            if "arc3" in str(getattr(t, "arrowprops", ""))
        ]
        return len(curved)

    assert arrows(False) == 0
    # The first layer changes the width: no skip goes around it.
    assert arrows(True) == 1


def test_searched_layers_are_blue():
    architecture = history()[-1]
    figure = architecture_figure(architecture.space, architecture_rows(architecture))
    colours = [p.get_facecolor() for p in figure.axes[0].patches]
    searched = [pi is not None for pi in architecture.decisions()]
    assert len({c for c, s in zip(colours, searched, strict=True) if s}) == 1
    assert len(set(colours)) == 2


def test_deep_architectures_can_be_saved(tmp_path):
    """More pixels than matplotlib draws at the usual resolution."""
    layers = [{"repeat": 600, "layers": ["tdnn"]}]
    space = SearchSpace.from_conf({"width": 2, "layers": layers})
    rows = architecture_rows(Architecture(space))
    save_figure(architecture_figure(space, rows), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 1000
