from __future__ import annotations

import pytest
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.baselines import at_random, by_hand

PAPER = ["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1", "tdnn-C2D2"]
SPACE = SearchSpace.from_conf({"layers": [PAPER, "tdnn-C1S3D1", PAPER]})


def layers(architecture):
    return architecture.space.to_conf()["layers"]


def test_by_hand():
    assert layers(by_hand(SPACE, ["tdnn-C2D2Nln"])) == [
        "tdnn-C2D2",
        "tdnn-C1S3D1",
        "tdnn-C2D2",
    ]
    assert layers(by_hand(SPACE, ["tdnn-C1", "tdnn-C2"]))[::2] == [PAPER[0], PAPER[2]]


def test_random_ones_differ_and_repeat():
    drawn = [layers(a) for a in at_random(SPACE, 16, 3)]
    assert len({tuple(d) for d in drawn}) == 16
    assert drawn == [layers(a) for a in at_random(SPACE, 16, 3)]
    assert drawn != [layers(a) for a in at_random(SPACE, 16, 4)]


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        (["tdnn-C1"] * 3, "3 operations are given; accepted is 1 for all choices or 2"),
        (["zero"], "choice 1: 'zero' is not a candidate; accepted are: tdnn-C1D1, tdn"),
        (["qrnn"], "choice 1: unknown operation 'qrnn'"),
    ],
)
def test_wrong_operations(operations, message):
    with pytest.raises(ConfigError, match=message):
        by_hand(SPACE, operations)


def test_more_random_ones_than_there_are():
    with pytest.raises(
        ConfigError, match="17 random .* are asked for; the space has 16"
    ):
        at_random(SPACE, 17, 0)


def test_command(tmp_path, capsys):
    search = {"encoder": "stnas", "encoder_conf": SPACE.to_conf(), "warmup_epochs": 1}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({"optim": "adam"}))
    options = [
        str(tmp_path / "search.yaml"),
        *("--train_config", str(tmp_path / "train.yaml")),
        *("--output", str(tmp_path / "out"), "--random", "2"),
    ]
    stnas(["baselines", *options, "--by_hand", "small=tdnn-C1D1"])
    names = capsys.readouterr().out.split()
    assert names == ["small", "random1", "random2"]
    for name in names:
        config = yaml.safe_load((tmp_path / "out" / name / "train.yaml").read_text())
        assert config["optim"] == "adam"
        SPACE.index(SearchSpace.from_conf(config["encoder_conf"]))
    with pytest.raises(SystemExit, match="by_hand is 'small'; accepted is NAME=OPERAT"):
        stnas(["baselines", *options, "--by_hand", "small"])


def test_command_with_a_size(tmp_path, capsys):
    search = {"encoder": "stnas", "encoder_conf": {**SPACE.to_conf(), "width": 8}}
    search["warmup_epochs"] = 1
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({"optim": "adam"}))
    options = [
        str(tmp_path / "search.yaml"),
        *("--train_config", str(tmp_path / "train.yaml"), "--input_size", "8"),
        *("--output", str(tmp_path / "out")),
    ]

    def made(*words):
        stnas(["baselines", *options, *words])
        names = capsys.readouterr().out.split()
        files = (tmp_path / "out" / name / "train.yaml" for name in names)
        confs = [yaml.safe_load(file.read_text())["encoder_conf"] for file in files]
        return dict(zip(names, (conf["layers"][::2] for conf in confs), strict=True))

    # One layer with the larger context, one with the smaller.
    half = made("--max", "params=87%", "--largest", "--random", "4")
    assert half.pop("largest") == [PAPER[3], PAPER[3]]
    assert half.pop("largest_within") == [PAPER[3], PAPER[1]]
    assert list(half) == ["random1", "random2", "random3", "random4"]
    assert len({tuple(layers) for layers in half.values()}) == 4
    assert all(sum("C2" in op for op in layers) == 1 for layers in half.values())
    # None is trained twice.
    assert list(made("--largest", "--by_hand", "big=tdnn-C2D2")) == ["big"]
    assert list(made("--largest", "--max", "params=100%")) == ["largest"]
    for words, problem in (
        (("--max", "field=9"), "max is 'field=9'; accepted are params=... and macs="),
        (("--max", "params=9"), "max params=9: no architecture of this space has at"),
        (
            ("--max", "params=95%", "--random", "1"),
            "random is 1, but the space has only",
        ),
    ):
        with pytest.raises(SystemExit, match=problem):
            made(*words)
