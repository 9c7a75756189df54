"""Wrong options of a search are refused before anything is trained, in one sentence."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import yaml
from espnet2.tasks.asr import ASRTask
from hypothesis import given
from hypothesis import strategies as st

from espnet_stnas.errors import ConfigError
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.search_options import SEARCH_OPTIONS
from espnet_stnas.search import program
from espnet_stnas.search.checks import check_config, check_scheduler
from espnet_stnas.search.task import SearchASRTask
from tests.fuzz.inputs import damaged_bytes, fuzz, refused
from tests.search.conftest import command, search_config

ROOT = Path(__file__).parents[2]


def dry_run(corpus, tmp_path, **changes) -> None:
    config = search_config(**changes)
    program.main(command(corpus, tmp_path / "exp", config, "--dry_run", "true"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder_conf": ["tdnn"]},
            r"encoder_conf is \['tdnn'\]; accepted is a mapping",
        ),
        (
            {"warmup_epochs": [1]},
            r"warmup_epochs is \[1\]; accepted is an integer or auto",
        ),
        ({"max_epoch": 2.5}, "max_epoch is 2.5; accepted is an integer"),
        ({"max_epoch": None}, "max_epoch is None; accepted is an integer"),
        ({"use_amp": "maybe"}, "use_amp is 'maybe'; accepted is true or false"),
        ({"arch_fraction": True}, "arch_fraction is True; accepted is a number"),
        (
            {"arch_data": "test"},
            "arch_data is 'test'; accepted are: train",
        ),
        ({"estimator": ["st"]}, "estimator is .*accepted are: st, reinmax"),
        ({"warm_up": 3}, "unknown key 'warm_up'; accepted are the options that --help"),
        ({"seed": -1}, r"seed is -1; accepted is an integer from 0 to 2\^32 - 1"),
        ({"optim": "adm"}, "optim is 'adm'; accepted are: adam"),
        (
            {"optim_conf": {"x": 1}},
            "optim 'adam' with its optim_conf cannot be built",
        ),
        (
            {"optim2_conf": {"lr": "x"}},
            "optim2 'adam' with its optim2_conf can",
        ),
        ({"optim2_conf": {"lr": -1}}, "ESPnet says: ValueError: Invalid learning rate"),
        (
            {"optim2_conf": None},
            "optim2 'adam' with its optim2_conf cannot be",
        ),
        (
            {"scheduler2": "steplr", "scheduler2_conf": {"x": 1}},
            "scheduler2 'steplr' with its conf cannot be built; ESPnet says: TypeError",
        ),
        (
            {"frontend_conf": {"x": 1}},
            "the model of these options cannot be",
        ),
        ({"model_conf": {}}, "ESPnet says: AssertionError: decoder should not be None"),
    ],
)
def test_wrong_options(corpus, tmp_path, changes, message):
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        dry_run(corpus, tmp_path, **changes)


def test_right_options(corpus, tmp_path):
    dry_run(corpus, tmp_path, seed=0, use_amp="false", scheduler=None, optim="Adam")


def test_all_defaults_can_be_given_in_a_yaml(tmp_path):
    parser = SearchASRTask.get_parser()
    defaults = {
        a.dest: a.default for a in parser._actions if a.dest not in ("help", "config")
    }
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(defaults))
    check_config(parser, tmp_path / "all.yaml")


def test_search_options_are_what_a_training_lacks():
    search, training = (
        {action.dest for action in task.get_parser()._actions}
        for task in (SearchASRTask, ASRTask)
    )
    assert search - training == set(SEARCH_OPTIONS)
    assert training <= search


def test_null_for_what_espnet_can_leave_out(tmp_path):
    """Whatever type of ESPnet's reads "none" as None takes null in a YAML, too."""
    parser = SearchASRTask.get_parser()
    nulls = {}
    for action in parser._actions:
        try:
            if action.type is not None and action.type("none") is None:
                nulls[action.dest] = None
        except Exception:
            continue
    assert {"frontend", "specaug", "normalize", "preencoder", "init"} <= set(nulls)
    (tmp_path / "nulls.yaml").write_text(yaml.safe_dump(nulls))
    check_config(parser, tmp_path / "nulls.yaml")


def raw_features(corpus, tmp_path, kind: str) -> list[str]:
    """Extracted features of 8 dimensions in the place of the corpus's recordings."""
    generator = np.random.default_rng(0)
    options = []
    for part, directory in (("train", "train"), ("valid", "dev")):
        names = [
            line.split()[0]
            for line in (corpus / directory / "text").read_text().splitlines()
        ]
        frames = {
            name: generator.standard_normal((40 + n % 5, 8)).astype(np.float32)
            for n, name in enumerate(names)
        }
        shapes = tmp_path / f"{directory}_shape"
        shapes.write_text("".join(f"{n} {len(x)},8\n" for n, x in frames.items()))
        scp = tmp_path / f"{directory}.scp"
        if kind == "npy":
            lines = []
            for name, x in frames.items():
                np.save(tmp_path / f"{name}.npy", x)
                lines.append(f"{name} {tmp_path / name}.npy\n")
            scp.write_text("".join(lines))
        else:
            kaldiio = pytest.importorskip("kaldiio", reason="reads kaldi_ark")
            kaldiio.save_ark(str(scp.with_suffix(".ark")), frames, scp=str(scp))
        options += [f"--{part}_data_path_and_name_and_type", f"{scp},speech,{kind}"]
        text = f"{corpus}/{directory}/text,text,text"
        options += [f"--{part}_data_path_and_name_and_type", text]
        options += [f"--{part}_shape_file", str(shapes)]
    return options


@pytest.mark.parametrize("kind", ["npy", "kaldi_ark"])
def test_search_on_extracted_features(corpus, tmp_path, kind):
    """`frontend: null` and `input_size`, as 40 of ESPnet's YAMLs have it."""
    config = search_config(
        frontend=None, input_size=8, max_epoch=2, normalize=None, specaug=None
    )
    del config["frontend_conf"], config["specaug_conf"]
    exp = tmp_path / "exp"
    options = command(corpus, exp, config)
    data = [n for n, o in enumerate(options) if o.endswith(("_and_type", "_file"))]
    kept = [o for n, o in enumerate(options) if not {n, n - 1} & set(data)]
    program.main([*kept, *raw_features(corpus, tmp_path, kind)])
    found = SearchExperiment.open(exp).architecture(2)
    assert found.provenance.input_size == 8


@pytest.mark.parametrize("path", sorted(ROOT.glob("egs2/*/*/conf/**/*.yaml")), ids=str)
def test_configs_of_recipes(path):
    if "warmup_epochs" in path.read_text():
        check_config(SearchASRTask.get_parser(), path)


def test_the_config_is_read_safely(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = command(corpus, tmp_path / "exp", search_config())
    (tmp_path / "exp.yaml").write_text("a: !!python/object/apply:os.system [touch x]")
    with pytest.raises(SystemExit, match="error: search config .*exp.yaml is no"):
        program.main(options)
    assert not (tmp_path / "x").exists()


def test_no_config_at_all(tmp_path):
    with pytest.raises(ConfigError, match="search config .*no.yaml does not exist"):
        check_config(SearchASRTask.get_parser(), tmp_path / "no.yaml")


@fuzz(40)
@given(draws=st.data())
def test_any_yaml(corpus, tmp_path_factory, capsys, draws):
    """A search is made ready to start, or refused."""
    root = tmp_path_factory.getbasetemp() / "any"
    options = command(corpus, root / "exp", search_config(), "--dry_run", "true")
    content = draws.draw(damaged_bytes(search_config()))
    (root / "exp.yaml").write_bytes(content)
    refused(program.main, options, capsys)


@pytest.mark.parametrize(
    ("scheduler", "key"),
    [("cosineannealinglr", "T_max"), ("warmuplinearlr", "max_epoch")],
)
@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(3, "is zero after epoch 3"), (4, None), (5, "ends before the learning rate")],
)
def test_a_decay_that_does_not_end_with_the_search_is_warned_of(
    caplog, scheduler, key, epochs, expected
):
    args = argparse.Namespace(
        **{"scheduler": scheduler, "scheduler_conf": {key: epochs}},
        **{"optim": "adam", "optim_conf": {}, "max_epoch": 4},
    )
    assert getattr(check_scheduler(args, ""), key) == epochs
    assert caplog.text == "" if expected is None else expected in caplog.text
