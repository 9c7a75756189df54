from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_yaml_mapping, write_text
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import Provenance, search_provenance
from espnet_stnas.results.show import read_space_file

SPACE = SearchSpace.from_conf(
    {"layers": [["tdnn-C1D1", "tdnn-C2D2"], "tdnn-C1S3D1"], "width": 8}
)


def make() -> Architecture:
    provenance = search_provenance(
        SPACE, [[0.25, 0.75]], epoch=3, seed=7, searching=True
    )
    return Architecture(SPACE.resolve([1]), provenance)


def test_round_trip(tmp_path):
    path = tmp_path / "deep" / "arch.yaml"
    make().write(path)
    again = Architecture.read(path)
    assert again == make()
    assert again.provenance.probabilities == ({"tdnn-C1D1": 0.25, "tdnn-C2D2": 0.75},)
    assert again.provenance.space["digest"] == SPACE.digest
    assert set(again.provenance.versions) == {
        "espnet_stnas",
        "espnet",
        "torch",
        "python",
    }


def test_file_holds_what_a_training_yaml_needs(tmp_path):
    make().write(tmp_path / "arch.yaml")
    data = yaml.safe_load((tmp_path / "arch.yaml").read_text())
    assert data["encoder"] == "stnas"
    assert SearchSpace.from_conf(data["encoder_conf"]).is_architecture


@pytest.mark.parametrize(
    "text",
    [
        "layers: [tdnn-C2D2, tdnn-S3]\nwidth: 8\n",
        "encoder: stnas\nencoder_conf: {layers: [tdnn-C2D2, tdnn-S3], width: 8}\n"
        "optim: adam\nmax_epoch: 3\n",
        "format: 1\nlayers: [{op: tdnn, context: 2, dilation: 2}, tdnn-C1S3]\nwidth: 8",
    ],
)
def test_a_file_written_by_hand(tmp_path, text):
    """It may be an encoder_conf by itself, or a training YAML."""
    (tmp_path / "own.yaml").write_text(text)
    found = Architecture.read(tmp_path / "own.yaml")
    assert found.space == make().space
    assert found.provenance == Provenance()
    assert read_space_file(tmp_path / "own.yaml").space == found.space


def test_a_space_says_which_choices_are_open(tmp_path):
    """The first of many, by their places."""
    choice = ["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1", "tdnn-C2D2", "tdnn-C3D1"]
    conf = {"layers": ["tdnn", {"repeat": 4, "layers": [choice]}]}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(conf))
    names = r"\(tdnn-C1D1 \| tdnn-C1D2 \| tdnn-C2D1 \| tdnn-C2D2 \| ...\)"
    message = (
        r"space.yaml is a search space: 4 choices are open, layer 2 \(layers\[2\]: "
        rf"layers\[1\]\) {names}, layer 3 .*, layer 4 .*, and 1 more; accepted is"
    )
    with pytest.raises(ConfigError, match=message):
        Architecture.read(tmp_path / "space.yaml")


def test_provenance_keeps_what_it_does_not_know(tmp_path):
    """A note of a person, or a key of a later version."""
    provenance = replace(make().provenance, others={"note": "the good one"})
    Architecture(make().space, provenance).write(tmp_path / "arch.yaml")
    again = Architecture.read(tmp_path / "arch.yaml")
    assert again.provenance == provenance
    assert yaml.safe_load((tmp_path / "arch.yaml").read_text())["provenance"]["note"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("phase", "late", "phase is 'late'; accepted is one of warm-up, search"),
        ("seed", 1.5, "seed is 1.5; accepted is an integer"),
        ("versions", {"torch": 2}, "versions is .*; accepted is a mapping from packag"),
        ("input_size", 0, "input_size is 0; accepted is an integer from 1 to 100000"),
        ("cost", {"kind": "params"}, "cost is .*; accepted is a mapping with a kind"),
        ("chosen", 3, "chosen is 3; accepted is a text"),
    ],
)
def test_provenance_is_checked(key, value, message):
    with pytest.raises(ConfigError, match=f"^provenance: {message}"):
        Provenance.from_mapping({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": 2},
            "arch.yaml has format 2; this version .* accepts format 1",
        ),
        (
            {"encoder": "conformer"},
            r"arch.yaml holds no layers \(its encoder is 'conformer'\); accepted is ",
        ),
        ({"encoder_conf": None}, "encoder_conf is None; accepted is a mapping"),
        (
            {"encoder_conf": SPACE.to_conf()},
            r"is a search space: 1 choice is open, layer 1 \(tdnn-C1D1 \| tdnn-C2D2\); "
            "accepted is one operation in every layer",
        ),
        ({"encoder_conf": {"layers": ["tdn"]}}, "arch.yaml: .*unknown operation 'tdn'"),
        ({"provenance": []}, r"'provenance' is \[\]; accepted is a mapping"),
    ],
)
def test_wrong_files_give_one_clear_sentence(tmp_path, change, message):
    path = tmp_path / "arch.yaml"
    make().write(path)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(ConfigError, match=message):
        Architecture.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2", "arch.yaml is not valid YAML: .*line 2"),
        ("- 1", "arch.yaml holds list; accepted is a mapping"),
        ("", "arch.yaml holds NoneType; accepted is a mapping"),
        ("a: !!python/object/apply:os.getcwd []", "arch.yaml is not valid YAML"),
        (
            "encoder: stnas",
            r"holds no layers \(found 'encoder'\); accepted is a YAML with the key ",
        ),
        ("layers: [tdnn]\nwith: 1", "arch.yaml: encoder_conf: unknown key 'with'"),
    ],
)
def test_damaged_files_give_one_clear_sentence(tmp_path, text, message):
    (tmp_path / "arch.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Architecture.read(tmp_path / "arch.yaml")


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(
        ConfigError, match=r"architecture file .*no.yaml does not exist"
    ):
        Architecture.read(tmp_path / "no.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml_mapping(tmp_path / "binary.yaml", "file")


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_text(path, "old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
