from __future__ import annotations

import pytest
import yaml

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_yaml_mapping, write_text
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture, search_provenance

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
    assert again.provenance["probabilities"] == [{"tdnn-C1D1": 0.25, "tdnn-C2D2": 0.75}]
    assert again.provenance["space"]["digest"] == SPACE.digest
    assert set(again.provenance["versions"]) == {
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
    ("change", "message"),
    [
        (
            {"format": 2},
            "has format 2 and encoder 'stnas'; this version .* accepts for",
        ),
        ({"encoder": "conformer"}, "encoder 'conformer'; this version"),
        ({"encoder_conf": None}, "'encoder_conf' is None; accepted is a mapping"),
        ({"encoder_conf": SPACE.to_conf()}, "has 1 choices left; accepted is one op"),
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
        ("encoder: stnas", "lacks the key 'format'; found 'encoder'"),
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
