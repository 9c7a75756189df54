from __future__ import annotations

import pytest

from espnet_stnas.architecture import Architecture, search_provenance
from espnet_stnas.report import figures
from espnet_stnas.space import SearchSpace

SPACE = SearchSpace.from_conf(
    {
        "width": 8,
        "layers": [
            "deltas",
            {"repeat": 2, "layers": [["tdnn-C1D1", "tdnn-C2D2"]]},
            "tdnn-C1S3D1",
            {"repeat": 2, "layers": [["tdnn-C1D1", "zero", "identity"]]},
            "conv2d-S2W5",
        ],
    }
)


def history(epochs: int = 3) -> list[Architecture]:
    return [
        Architecture(
            SPACE.resolve([1, 0, 1, 2]),
            search_provenance(
                SPACE,
                [[0.1 * e, 1 - 0.1 * e]] * 2 + [[0.5, 0.25, 0.25]] * 2,
                epoch=e,
                seed=0,
                searching=e > 1,
            ),
        )
        for e in range(1, epochs + 1)
    ]


@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
@pytest.mark.parametrize("epochs", [1, 3])
def test_figures_are_written_whole(tmp_path, suffix, magic, epochs):
    path = tmp_path / "figures" / f"p.{suffix}"
    figures.save_probabilities(SPACE, history(epochs), path)
    assert path.read_bytes().startswith(magic)
    figures.save_architecture(history(epochs)[-1], path.with_name(f"a.{suffix}"))
    assert {p.name for p in path.parent.iterdir()} == {f"p.{suffix}", f"a.{suffix}"}


def test_svg_shows_every_choice_and_candidate(tmp_path, monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    figures.save_probabilities(SPACE, history(), tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    for label in ("layer 2", "layer 3", "layer 5", "layer 6", "tdnn-C2D2", "zero"):
        assert label in text
    assert "layer 1<" not in text
    figures.save_architecture(history()[-1], tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for layer in SPACE.resolve([1, 0, 1, 2]).layers:
        assert str(layer.candidates[0]) in text


@pytest.mark.parametrize(
    ("layers", "seen"),
    [
        (["tdnn-C2D1", "tdnn-C1S3"], "7 frames"),
        (["tdnn-C2D1", "lstm", "tdnn-C1D3"], "all frames before and 5 after"),
        (["lstm", "conformer", "tdnn"], "the whole utterance"),
    ],
)
def test_layer_table_says_what_whole_utterance_layers_see(layers, seen):
    space = SearchSpace.from_conf({"layers": layers, "width": 4})
    architecture = Architecture(space)
    assert figures.layer_table(architecture)[-1]["seen"] == seen


def test_layer_table_counts_receptive_fields():
    """By hand: deltas see 4 + 4; C2D2 4 + 4; C1D1 1 + 1; the stride-3 layer 1 + 1.

    Then every frame is 3 input frames; conv2d-S2 sees frames 0..2 of 0..2, hence 6 of
    3 frames to the right (2 for its first convolution, 2 * 2 for its second).
    """
    rows = figures.layer_table(history()[-1])
    assert [r["op"] for r in rows][0] == "deltas-O2"
    assert [r["field"] for r in rows] == [9, 17, 19, 21, 21, 21, 39]
    assert [r["rate"] for r in rows] == [1, 1, 1, 3, 3, 3, 6]
    assert [r["searched"] for r in rows] == [
        False,
        True,
        True,
        False,
        True,
        True,
        False,
    ]
    assert rows[1]["probability"] == pytest.approx(0.7)
    assert rows[4]["width"] == "keeps its width"
    assert rows[6]["width"] == "width 5"


@pytest.mark.parametrize("epochs", [1, 3])
def test_certainty_shows_every_choice(tmp_path, monkeypatch, epochs):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    figures.save_certainty(SPACE, history(epochs), tmp_path / "c.svg")
    text = (tmp_path / "c.svg").read_text()
    for label in ("relative entropy", "margin", "epoch"):
        assert f">{label}<" in text
    found = [n for n in range(1, 8) if f">layer {n}<" in text]
    assert found == [2, 3, 5, 6]


def test_nothing_to_draw(tmp_path):
    for save in (figures.save_probabilities, figures.save_certainty):
        with pytest.raises(ValueError, match="no epoch to draw"):
            save(SPACE, [], tmp_path / "p.png")
