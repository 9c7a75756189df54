"""config.json files of the paper's code: the same layers and parameter counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.reference import import_config
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.supernet.supernet import build_supernet

PAPER = Path(__file__).parents[2] / "conf" / "space" / "tdnn_paper.yaml"
PAPER_CONF = yaml.safe_load(PAPER.read_text())["encoder_conf"]
TDNN = ["tdnn-C1D1Nln", "tdnn-C2D2Nbn"]


def write(path, net, candidate, blocks=3, odims=8, **changes) -> str:
    net_configs = {
        "block_list": [blocks],
        "idim": 6,
        "odims": odims,
        "num_classes": 5,
        "dropout": 0.1,
        **changes,
    }
    data = {"candidate": candidate, "net": net, "net_configs": net_configs}
    path.write_text(json.dumps(data))
    return str(path)


def parameters(space: SearchSpace) -> int:
    """All but the logits."""
    network = build_supernet(space, 6)
    logits = sum(p.numel() for p in network.logits)
    return sum(p.numel() for p in network.parameters()) - logits


@pytest.mark.parametrize(
    ("net", "candidates", "odims", "expected"),
    [
        # Counted in their code, without logits and output layer.
        ("UniNodeNet", [*TDNN, "lstm", "blstm", "gru", "bgru"], [8, 12], 11120),
        ("UniNodeNet", [*TDNN, "transformer", "identity"], 16, 75072),
        ("BiNodeNet", [*TDNN, "lstm"], [8], 2832),
        ("ResidualNet", TDNN, [8, 12], 4064),
        ("BiResidualNet", TDNN, [8], 2064),
    ],
)
def test_parameter_counts(tmp_path, net, candidates, odims, expected):
    path = write(tmp_path / "config.json", net, {"base": candidates}, odims=odims)
    space = import_config(path)
    assert parameters(space) == expected
    assert SearchSpace.from_conf(space.to_conf()) == space


def test_the_papers_net(tmp_path, capsys):
    """Their WSJ configuration is our paper space, if a layer makes the derivatives."""
    candidates = ["tdnn-C1D1Nln", "tdnn-C1D2Nln", "tdnn-C2D1Nln", "tdnn-C2D2Nln"]
    sub = {"pos_subsample": 3, "idim_sub": 640, "odim_sub": 640, "dropout_sub": 0.5}
    path = write(
        tmp_path / "config.json",
        "MFRNet",
        {"base": candidates},
        blocks=6,
        odims=[640],
        **{"idim": 120, "dropout": 0.5, **sub},
    )
    output = str(tmp_path / "space.yaml")
    stnas(["import-reference", path, "--output", output])
    assert "idim is 120 = 40 x 3; if these are features with" in capsys.readouterr().out
    layers = SearchSpace.from_conf(PAPER_CONF).layers
    imported = read_space(output)
    assert imported.layers == layers[1:]
    assert (imported.width, imported.dropout_rate, imported.residual) == (
        640,
        0.5,
        False,
    )
    # ESPnet's 40 features, of which a layer makes 120.
    stnas(["import-reference", path, "--output", output, "--deltas"])
    said = capsys.readouterr().out
    assert "note" not in said and "for frames of 40 dimensions" in said
    assert read_space(output) == SearchSpace.from_conf(PAPER_CONF)


def read_space(path) -> SearchSpace:
    found = yaml.safe_load(Path(path).read_text())
    assert found["encoder"] == "stnas"
    return SearchSpace.from_conf(found["encoder_conf"])


def test_derivatives_of_other_sizes(tmp_path, capsys):
    path = write(tmp_path / "a", "UniNodeNet", TDNN, idim=7)
    options = ["import-reference", path, "--output", str(tmp_path / "b")]
    stnas(options)
    assert "note" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match="idim is 7; accepted with --deltas is a mul"):
        stnas([*options, "--deltas"])


def test_blocks(tmp_path):
    path = write(tmp_path / "a", "BiResidualNet", TDNN, blocks=2)
    names = ["tdnn-C1D1W4", "tdnn-C2D2NbnW4"]
    pair = {"forward": [names], "backward": [names]}
    body = [{"bidirectional": pair}]
    assert import_config(path).to_conf()["layers"] == [
        {"residual": {"body": body, "shortcut": ["zero-W8", "lstm"]}},
        {"residual": {"body": body, "shortcut": ["zero-W8", "identity"]}},
    ]


def test_single_places_have_candidates_of_their_own(tmp_path):
    candidate = {"base": TDNN, "1-0": ["lstm"], "2-0": ["identity", "zero"]}
    path = write(tmp_path / "a", "UniNodeNet", candidate)
    layers = import_config(path).to_conf()["layers"]
    assert layers == [
        ["tdnn-C1D1", "tdnn-C2D2Nbn"],
        "lstm",
        ["identity", "zero-W8"],
    ]


@pytest.mark.parametrize(
    ("net", "candidate", "changes", "message"),
    [
        ("TriNet", TDNN, {}, "net is 'TriNet'; accepted are: UniNodeNet, BiNodeNet"),
        ("UniNodeNet", [], {}, r"the candidates 'base' are \[\]; accepted is a list"),
        ("UniNodeNet", ["cnn"], {}, "candidate: unknown operation 'cnn'"),
        ("UniNodeNet", {"base": TDNN, "9-0": TDNN}, {}, "candidate has the key '9-0'"),
        ("UniNodeNet", ["identity"] * 2, {}, "no candidate of identity, identity can"),
        ("UniNodeNet", TDNN, {"block_list": [1, 2]}, r"block_list is \[1, 2\]; accep"),
        ("UniNodeNet", TDNN, {"odims": "8"}, "odims '8'; accepted are positive"),
        ("UniNodeNet", TDNN, {"dropout": 2}, "dropout_rate is 2; accepted is"),
        ("BiNodeNet", TDNN, {"odims": 7}, "odims holds 7; accepted are even widths"),
        ("MFRNet", TDNN, {}, "net_configs lacks the key 'pos_subsample'"),
        (
            "MFRNet",
            TDNN,
            {"pos_subsample": 1, "odim_sub": 8, "dropout_sub": 0.3},
            "dropout is 0.1 and dropout_sub 0.3; accepted is the same",
        ),
        (
            "MFRNet",
            TDNN,
            {"pos_subsample": 9, "odim_sub": 8, "dropout_sub": 0.1},
            "pos_subsample is 9; accepted is an integer from 0 to 3",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path, net, candidate, changes, message):
    path = write(tmp_path / "config.json", net, candidate, **changes)
    with pytest.raises(ConfigError, match=f"reference config .*config.json.*{message}"):
        import_config(path)
    with pytest.raises(SystemExit, match="error: reference config"):
        stnas(["import-reference", path, "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"net": "MFRNet"}', "\x00"])
def test_damaged_files(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match="^reference config .*config.json"):
        import_config(tmp_path / "config.json")
    with pytest.raises(ConfigError, match="nowhere.json does not exist"):
        import_config(tmp_path / "nowhere.json")
