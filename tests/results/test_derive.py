from __future__ import annotations

import re

import pytest
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import Provenance, search_provenance

SPACE = SearchSpace.from_conf(
    {
        "layers": [["tdnn-C1D1", "tdnn-C2D2"], "tdnn-C1S3D1", ["tdnn", "zero"]],
        "width": 8,
    }
)
TEMPLATE = {
    "encoder": "conformer",
    "encoder_conf": {"output_size": 4},
    "optim": "adam",
    "specaug_conf": {"freq_mask_width_range": [0, 27]},
}


@pytest.fixture
def experiment(tmp_path):
    """The files of a search of 3 epochs, the first of them warm-up."""
    exp = tmp_path / "exp"
    config = {"encoder": "stnas", "encoder_conf": SPACE.to_conf(), "warmup_epochs": 1}
    exp.mkdir()
    (exp / "config.yaml").write_text(yaml.safe_dump(config))
    even = [[0.5, 0.5], [0.5, 0.5]]
    for epoch, pi in ((1, even), (2, even), (3, [[0.2, 0.8], [0.1, 0.9]])):
        provenance = search_provenance(
            SPACE, pi, epoch=epoch, seed=0, searching=epoch > 1
        )
        path = exp / "architectures" / f"{epoch}epoch.yaml"
        Architecture(SPACE.resolve([int(epoch > 2)] * 2), provenance).write(path)
    (tmp_path / "template.yaml").write_text(yaml.safe_dump(TEMPLATE))
    return exp


def run(experiment, *options: str) -> None:
    stnas(["derive", str(experiment), *options])


def test_architecture_and_training_yaml(experiment, tmp_path, capsys):
    run(
        experiment,
        *("--output", str(tmp_path / "arch.yaml")),
        *("--train_config", str(tmp_path / "template.yaml")),
        *("--train_output", str(tmp_path / "train.yaml")),
    )
    architecture = Architecture.read(tmp_path / "arch.yaml")
    assert architecture.space == SPACE.resolve([1, 1])
    assert architecture.provenance.epoch == 3
    train = yaml.safe_load((tmp_path / "train.yaml").read_text())
    assert train == {
        **TEMPLATE,
        "encoder": "stnas",
        "encoder_conf": architecture.space.to_conf(),
    }
    out = capsys.readouterr().out
    assert out == (
        f"Architecture of {experiment}, epoch 3:\n"
        "     operation    probability  next best         margin  same for the last\n"
        "  1  tdnn-C2D2          0.800  tdnn-C1D1  0.200   0.600  1 of 2 epochs\n"
        "  2  tdnn-C1S3D1\n"
        "  3  zero               0.900  tdnn-C1D1  0.100   0.800  1 of 2 epochs\n"
    )


@pytest.mark.parametrize(
    ("task", "comment"),
    [
        ("st", "-m espnet2.bin.st_train\n"),
        ("asr", "-m espnet2.bin.asr_train\n"),
        (None, "-m espnet2.bin.TASK_train (asr_train, st_train, ...)\n"),
        ("a b", "-m espnet2.bin.TASK_train (asr_train, st_train, ...)\n"),
    ],
)
def test_header_names_the_training_of_the_task(experiment, tmp_path, task, comment):
    config = yaml.safe_load((experiment / "config.yaml").read_text())
    (experiment / "config.yaml").write_text(yaml.safe_dump({**config, "task": task}))
    template, output = tmp_path / "template.yaml", tmp_path / "train.yaml"
    run(experiment, "--train_config", str(template), "--train_output", str(output))
    header = output.read_text().split("encoder:")[0]
    assert header.endswith(
        f"# Needs espnet_stnas: python3 -m espnet_stnas.run {comment}"
    )


@pytest.mark.parametrize(
    ("template", "warned"),
    [
        ({"frontend_conf": {"n_mels": 40}}, "trains on frames of 40: its cost and"),
        ({"frontend": None, "input_size": 83}, "trains on frames of 83: its cost"),
        ({"frontend": "default", "frontend_conf": {"n_mels": 80}}, None),
        ({"frontend": "s3prl", "frontend_conf": {"n_mels": 40}}, None),
        ({}, None),
    ],
)
def test_other_features_than_those_of_the_search(tmp_path, capsys, template, warned):
    space = SearchSpace.from_conf({"layers": ["tdnn"], "width": 8})
    arch, output = tmp_path / "arch.yaml", tmp_path / "train.yaml"
    Architecture(space, Provenance(input_size=80)).write(arch)
    (tmp_path / "template.yaml").write_text(yaml.safe_dump({**template, "optim": "a"}))
    options = ["--train_config", str(tmp_path / "template.yaml")]
    stnas(["derive", str(arch), *options, "--train_output", str(output)])
    assert "# Found on input frames of 80 dimensions.\n" in output.read_text()
    warnings = [x for x in capsys.readouterr().out.splitlines() if "warning:" in x]
    if warned is None:
        assert warnings == []
    else:
        start = "warning: the architecture was found on input frames of 80 dimensions, "
        assert len(warnings) == 1
        assert warnings[0].startswith(start) and warned in warnings[0]


@pytest.mark.parametrize(
    ("most", "path"), [(400, (1, 1)), (359, (0, 1)), (312, (0, 1))]
)
def test_most_probable_within_a_budget(experiment, tmp_path, capsys, most, path):
    """Wider contexts are more probable; so is zero, which is cheaper than tdnn."""
    output = tmp_path / "arch.yaml"
    options = ("--max_cost", f"params={most}", "--input_size", "3", "--strict")
    run(experiment, *options, "--output", str(output))
    found = Architecture.read(output)
    out = capsys.readouterr().out
    cost = int(re.search("cost: (\\d+) parameters", out)[1])
    assert found.space == SPACE.resolve(path) and cost <= most
    noted = "note: not the most probable of all, which exceeds max_cost" in out
    assert noted == ("selected" in found.provenance.others) == (path != (1, 1))


def test_budgets_that_no_architecture_keeps(experiment, tmp_path):
    options = ("--max_cost", "params=9", "--input_size", "3")
    message = "max_cost: no architecture .* 9 parameters; the cheapest has \\d+ param"
    with pytest.raises(SystemExit, match=message):
        run(experiment, *options, "--output", str(tmp_path / "arch.yaml"))
    assert not (tmp_path / "arch.yaml").exists()


def test_chosen_epoch(experiment, tmp_path):
    run(experiment, "--epoch", "2", "--output", str(tmp_path / "arch.yaml"))
    assert Architecture.read(tmp_path / "arch.yaml").space == SPACE.resolve([0, 0])


def test_from_an_architecture_file(experiment, tmp_path):
    arch = experiment / "architectures" / "1epoch.yaml"
    stnas(
        [
            "derive",
            *(str(arch), "--train_config", str(tmp_path / "template.yaml")),
            *("--train_output", str(tmp_path / "train.yaml")),
        ]
    )
    train = yaml.safe_load((tmp_path / "train.yaml").read_text())
    assert SearchSpace.from_conf(train["encoder_conf"]) == SPACE.resolve([0, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epoch", "7"], "epoch 7 is not in .*architectures; accepted are 1 to 3"),
        (["--epoch", "1"], "epoch 1 of .*exp belongs to the warm-up, in which the ar"),
        (["--epoch", "best"], "epoch is 'best'; accepted is a number or 'latest'"),
    ],
)
def test_wrong_epochs(experiment, tmp_path, options, message):
    with pytest.raises(SystemExit, match=f"error: {message}"):
        run(experiment, "--output", str(tmp_path / "arch.yaml"), *options)
    assert not (tmp_path / "arch.yaml").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "rnn"}, r"config.yaml is not of a search \(encoder 'rnn'\)"),
        ({"warmup_epochs": None, "drop": True}, "config.yaml is not of a search"),
        ({"encoder_conf": {"layers": [[]]}}, "config.yaml: .*a choice needs at least"),
        (
            {
                "encoder_conf": {
                    **SPACE.to_conf(),
                    "layers": [["tdnn-C2D2", "tdnn"], "tdnn-S3", ["tdnn", "zero"]],
                }
            },
            "3epoch.yaml does not belong .*: it comes from the space [0-9a-f]{12}, not",
        ),
        (
            {"encoder_conf": {**SPACE.to_conf(), "width": 9}},
            "3epoch.yaml does not belong to the search space of this experiment: the "
            "architecture has other settings",
        ),
    ],
)
def test_experiments_that_do_not_fit(experiment, tmp_path, change, message):
    config = {**yaml.safe_load((experiment / "config.yaml").read_text()), **change}
    if config.pop("drop", False):
        del config["warmup_epochs"]
    (experiment / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(SystemExit, match=message):
        run(experiment, "--output", str(tmp_path / "arch.yaml"))


def test_averaged_checkpoints_are_refused(experiment, tmp_path):
    (experiment / "valid.loss.ave.pth").touch()
    with pytest.raises(SystemExit, match="is not a directory.*never from an averaged"):
        run(experiment / "valid.loss.ave.pth", "--output", str(tmp_path / "arch.yaml"))


def test_missing_experiment(tmp_path):
    with pytest.raises(
        SystemExit, match="error: .*nowhere does not exist; accepted is"
    ):
        run(tmp_path / "nowhere", "--output", str(tmp_path / "arch.yaml"))


def test_no_epoch_yet(experiment, tmp_path):
    for file in (experiment / "architectures").iterdir():
        file.unlink()
    with pytest.raises(SystemExit, match="the search has not finished an epoch yet"):
        run(experiment, "--output", str(tmp_path / "arch.yaml"))


def test_damaged_architecture_file(experiment, tmp_path):
    (experiment / "architectures" / "3epoch.yaml").write_text("format: [1")
    with pytest.raises(
        SystemExit, match="error: architecture file .*3epoch.yaml is no"
    ):
        run(experiment, "--output", str(tmp_path / "arch.yaml"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (None, "provenance: probabilities is None; accepted is a list with a mapping"),
        ([], "its provenance lacks the epoch, the phase, o"),
        ([{"tdnn-C1D1": 1.0}] * 2, "its provenance lacks the epoch, the phase, o"),
        (3, "provenance: probabilities is 3; accepted is a list with a mapping"),
    ],
)
def test_incomplete_provenance(experiment, tmp_path, damage, message):
    file = experiment / "architectures" / "3epoch.yaml"
    data = yaml.safe_load(file.read_text())
    data["provenance"]["probabilities"] = damage
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(SystemExit, match=message):
        run(experiment, "--output", str(tmp_path / "arch.yaml"))


def test_search_config_is_no_template(experiment, tmp_path):
    (tmp_path / "template.yaml").write_text(yaml.safe_dump({"warmup_epochs": 3}))
    with pytest.raises(
        SystemExit, match="has the key 'warmup_epochs', which belongs t"
    ):
        run(
            experiment,
            *("--train_config", str(tmp_path / "template.yaml")),
            *("--train_output", str(tmp_path / "train.yaml")),
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to write"),
        (["--train_config", "x"], "--train_config and --train_output go together"),
    ],
)
def test_wrong_usage(experiment, options, message, capsys):
    with pytest.raises(SystemExit):
        run(experiment, *options)
    assert message in capsys.readouterr().err
