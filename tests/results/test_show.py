"""stnas show, diff and cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.network.network import build_network
from espnet_stnas.notation.space import SearchSpace
from tests.report.spaces import SPACE, experiment, history

ROOT = Path(__file__).parents[2]


def training(path: Path, *layers: object, **conf: object) -> Path:
    encoder = {"layers": list(layers), "width": 8, **conf}
    data = {"encoder": "stnas", "encoder_conf": encoder, "frontend_conf": {"n_mels": 4}}
    path.write_text(yaml.safe_dump(data))
    return path


def run(command: str, *options: object, capsys) -> list[str]:
    stnas([command, *map(str, options)])
    return capsys.readouterr().out.splitlines()


def test_architecture(tmp_path, capsys):
    file = tmp_path / "a.yaml"
    architecture = history()[-1]
    architecture.write(file)
    lines = run("show", file, "--costs", capsys=capsys)
    assert lines[0] == f"{file}: architecture of 7 layers (width 8, dropout 0.5)"
    assert lines[1].split() == [
        *("operation", "probability", "width", "parameters", "1", "frame", "in", "sees")
    ]
    assert lines[3].split()[:4] == ["2", "tdnn-C2D2", "0.700", "8"]
    count = sum(p.numel() for p in build_network(architecture.space, 40).parameters())
    assert f"  parameters of the encoder with input_size 40: {count:,}" in lines
    assert "  receptive field: 39 frames, 390 ms (10 before, 28 after)" in lines


def test_space(tmp_path, capsys):
    file = tmp_path / "s.yaml"
    data = {"encoder": "stnas", "encoder_conf": SPACE.to_conf()}
    file.write_text(yaml.safe_dump(data))
    lines = run(
        "show", file, "--costs", "--input_size", 40, "--frames", 100, capsys=capsys
    )
    assert "search space of 7 layers, 4 choices, 36 architectures" in lines[0]
    assert any("tdnn-C1D1 | zero | identity" in line for line in lines)
    counts = [
        sum(p.numel() for p in build_network(SPACE.resolve(path), 40).parameters())
        for path in ([0, 0, 1, 1], [1, 1, 0, 0])
    ]
    name = "  parameters of the encoder with input_size 40"
    assert f"{name}: {counts[0]:,} to {counts[1]:,}" in lines
    assert "sizes: give --input_size" in run("show", file, capsys=capsys)[-1]


def test_every_file_of_the_repository(capsys):
    files = [*ROOT.glob("conf/space/*.yaml"), *ROOT.glob("egs2/**/conf/search*.yaml")]
    assert len(files) > 5
    for file in files:
        lines = run("show", file, "--input_size", 40, capsys=capsys)
        assert "search space of" in lines[0]


def test_long_choices_stand_below(tmp_path, capsys):
    names = [f"tdnn-C{c}D{d}" for c in (1, 2) for d in (1, 2, 3, 4)]
    file = training(tmp_path / "s.yaml", names, "tdnn", names)
    lines = run("show", file, capsys=capsys)
    assert [line.split()[1:5] for line in (lines[2], lines[4])] == [
        ["one", "of", "8", "(1)"]
    ] * 2
    assert f"  (1) {' | '.join(names)}" in lines


def test_difference_of_equal_lengths(tmp_path, capsys):
    one = training(tmp_path / "a.yaml", "tdnn-C1D1", "tdnn-C1D1", "tdnn-C1S2D1")
    two = training(
        tmp_path / "b.yaml", "tdnn-C1D1", "tdnn-C2D1", "tdnn-C1S2D1", dropout_rate=0.1
    )
    with pytest.raises(SystemExit) as stop:
        run("diff", one, two, "--costs", capsys=capsys)
    assert stop.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        f"- {one}",
        f"+ {two}",
        "  dropout_rate: 0.5 -> 0.1",
        "  layer 2: tdnn-C1D1 -> tdnn-C2D1",
    ]
    counts = []
    for file in (one, two):
        conf = yaml.safe_load(file.read_text())["encoder_conf"]
        network = build_network(SearchSpace.from_conf(conf), 4)
        counts.append(sum(p.numel() for p in network.parameters()))
    change = 100 * (counts[1] / counts[0] - 1)
    assert lines[4] == (
        "  parameters of the encoder with input_size 4: "
        f"{counts[0]:,} -> {counts[1]:,} ({change:+.1f} %)"
    )


def test_difference_of_other_lengths(tmp_path, capsys):
    one = training(tmp_path / "a.yaml", "tdnn-C1D1", "tdnn-C1S2D1")
    two = training(tmp_path / "b.yaml", "tdnn-C1D1", "lstm", "tdnn-C1S2D1")
    with pytest.raises(SystemExit):
        run("diff", one, two, capsys=capsys)
    lines = capsys.readouterr().out.splitlines()
    assert "  + layer 2: lstm" in lines
    assert not any(line.startswith("  - layer") for line in lines)


def test_no_difference(tmp_path, capsys):
    one = training(tmp_path / "a.yaml", "tdnn-C1D1")
    two = training(tmp_path / "b.yaml", {"op": "tdnn", "context": 1})
    assert run("diff", one, two, capsys=capsys)[-1] == (
        "  the same layers and settings"
    )


def test_other_blocks_are_a_difference(tmp_path, capsys):
    one = training(tmp_path / "a.yaml", {"residual": {"body": ["tdnn-W4"]}})
    two = training(tmp_path / "b.yaml", "tdnn-W4", "identity")
    with pytest.raises(SystemExit):
        run("diff", one, two, capsys=capsys)
    assert "wired in other blocks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "encoder: conformer",
            "holds no layers .its encoder is 'conformer'.; accepted",
        ),
        ("encoder: stnas", "holds no layers .found .encoder.."),
        ("[1]", "holds list; accepted is a mapping"),
        (
            "{encoder: stnas, encoder_conf: {layers: [x]}}",
            "f.yaml: encoder_conf: .*'x'",
        ),
        ("format: 1", "holds no layers .found 'format'.; accepted is"),
    ],
)
def test_bad_files(tmp_path, capsys, text, sentence):
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(SystemExit, match=f"^error: .*{sentence}"):
        run("show", tmp_path / "f.yaml", capsys=capsys)


def test_bad_options(tmp_path, capsys):
    file = training(tmp_path / "a.yaml", "tdnn")
    with pytest.raises(SystemExit, match="2"):
        run("show", capsys=capsys)
    options = (["--input_size", 0], ["--frames", 0, "--costs"], ["--frame_shift", -1])
    for some in options:
        with pytest.raises(SystemExit, match="^error: .*accepted"):
            run("show", file, *some, capsys=capsys)


def test_directories_of_experiments(tmp_path, capsys):
    """Of a search its last architecture, of a training its encoder."""
    exp = experiment(tmp_path / "search")
    lines = run("show", exp, capsys=capsys)
    assert lines[0] == f"{exp}: architecture of 7 layers (width 8, dropout 0.5)"
    trained = tmp_path / "train"
    trained.mkdir()
    training(trained / "config.yaml", "tdnn-C1D1")
    assert "architecture of 1 layer (" in run("show", trained, capsys=capsys)[0]
    with pytest.raises(SystemExit, match="1"):
        run("diff", exp, trained, capsys=capsys)


def test_programs_get_json(tmp_path, capsys):
    one = training(tmp_path / "a.yaml", "tdnn-C1D1", "lstm")
    found = json.loads("".join(run("show", one, "--json", capsys=capsys)))
    (file,) = found["files"]
    assert [layer["operations"] for layer in file["layers"]] == [
        ["tdnn-C1D1"],
        ["lstm"],
    ]
    assert file["layers"][1]["frames_before"] is None  # JSON has no infinity
    found = json.loads("".join(run("diff", one, one, "--json", capsys=capsys)))
    assert found == {"same": True, "differences": []}
    found = json.loads("".join(run("cost", one, "--json", capsys=capsys)))
    conf = yaml.safe_load(one.read_text())["encoder_conf"]
    network = build_network(SearchSpace.from_conf(conf), 4)
    count = sum(p.numel() for p in network.parameters())
    assert found["costs"][0]["least"] == found["costs"][0]["most"] == count


def test_costs(tmp_path, capsys):
    file = training(tmp_path / "a.yaml", "tdnn-C1D1")
    table = tmp_path / "latency.yaml"
    run("measure-latency", file, "--repeat", 1, "--output", table, capsys=capsys)
    lines = run("cost", file, "--latency_table", table, capsys=capsys)
    names = [line.split(":")[0] for line in lines]
    assert names[:2] == [
        "parameters of the encoder with input_size 4",
        "multiply-accumulates for 1000 frames",
    ]
    assert names[3].startswith("microseconds for 1000 frames (torch ")
    lines = run("cost", file, "--frame_shift", 8, capsys=capsys)
    assert lines[2:] == ["ms of look-ahead with frames 8 ms apart: 8"]
    training(file, "blstm")
    assert len(run("cost", file, capsys=capsys)) == 2
    conf = {"encoder": "stnas", "encoder_conf": SPACE.to_conf()}
    file.write_text(yaml.safe_dump(conf))
    with pytest.raises(SystemExit, match="does not say the dimensions .*--input_size"):
        run("cost", file, capsys=capsys)
