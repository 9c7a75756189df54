from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from espnet_stnas import run
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.derive import write_training_config
from espnet_stnas.results.provenance import Provenance

SPACE = SearchSpace.from_conf({"layers": ["tdnn"], "width": 8})


@pytest.fixture(autouse=True)
def _restore(monkeypatch):
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_script_gets_its_arguments_and_neighbours(tmp_path, capsys):
    (tmp_path / "neighbour_of_script.py").write_text("NAME = 'neighbour'\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom neighbour_of_script import NAME\n"
        "print(NAME, __name__, sys.argv[1:])\n"
    )
    run.main([str(script), "--a", "b"])
    assert capsys.readouterr().out == "neighbour __main__ ['--a', 'b']\n"


def test_module_without_main_runs_as_python_does(tmp_path, capsys):
    (tmp_path / "module_for_run.py").write_text(
        "import sys\nprint(__name__, sys.argv[1:])\n"
    )
    sys.path.insert(0, str(tmp_path))
    run.main(["-m", "module_for_run", "x"])
    assert capsys.readouterr().out == "__main__ ['x']\n"


def test_espnet_module_runs_its_main(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SystemExit):
        run.main(["-m", "espnet_stnas.search.program", "--help"])
    assert "--warmup_epochs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["-m"], 2, "error: -m needs the name of a module"),
        (["-x"], 2, "error: unknown option '-x'"),
        (["--search"], 2, "error: --search needs a module or a script"),
        (["--search", "-m"], 2, "error: -m needs the name of a module"),
        (["-m", "no.such.module"], 1, "error: there is no module 'no.such.module'"),
        (["nowhere.py"], 1, "error: there is no script 'nowhere.py'"),
    ],
)
def test_wrong_usage_is_one_sentence(argv, code, message):
    """Seen from outside, with the code that a shell gets."""
    ended = subprocess.run(
        [sys.executable, "-m", "espnet_stnas.run", *argv],
        capture_output=True,
        text=True,
        cwd=Path(run.__file__).parents[1],
    )
    assert ended.stderr.startswith(message)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr


FORGOTTEN = (
    r"for a search, type python3 -m espnet_stnas.run --search -m espnet2.bin.asr_train "
    r"... \(in a recipe: --python 'python3 -m espnet_stnas.run --search'\); for a tr"
)


@pytest.mark.parametrize(
    ("task", "yaml", "options", "message"),
    [
        ("asr", "warmup_epochs: 3", [], "config .*x.yaml has warmup_epochs, which bel"),
        ("asr", "optim2: adam", [], f"has optim2, which .* search; {FORGOTTEN}"),
        (
            "asr",
            "",
            ["--arch_data=valid"],
            f"the command line has --arch.*{FORGOTTEN}",
        ),
        (
            "st",
            "",
            ["--cost_conf", "a=1", "--cost_conf", "b=2"],
            "-m espnet2.bin.st_",
        ),
        (
            "asr_transducer",
            "estimator: st",
            [],
            "accepted is a YAML of a train",
        ),
    ],
)
def test_search_forgotten(tmp_path, monkeypatch, task, yaml, options, message):
    """Before ESPnet is imported, which takes longer than anybody likes."""
    monkeypatch.setitem(sys.modules, f"espnet2.bin.{task}_train", None)
    (tmp_path / "x.yaml").write_text(yaml or "max_epoch: 1")
    argv = ["-m", f"espnet2.bin.{task}_train", "--config", str(tmp_path / "x.yaml")]
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        run.main([*argv, *options])


@pytest.mark.parametrize(
    ("task", "yaml"),
    [
        ("gan_tts", "optim2: adam"),
        ("asr", "max_epoch: 3"),
        ("asr", "max_epoch: 3\nmax_epoch: 4"),
        ("asr", "arch: ["),
    ],
)
def test_other_trainings_are_left_to_espnet(tmp_path, monkeypatch, task, yaml, capsys):
    (tmp_path / "x.yaml").write_text(yaml)
    (tmp_path / "fake.py").write_text("def main():\n    print('runs')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("fake")
    monkeypatch.setitem(sys.modules, f"espnet2.bin.{task}_train", module)
    run.main(["-m", f"espnet2.bin.{task}_train", "--config", str(tmp_path / "x.yaml")])
    assert capsys.readouterr().out == "runs\n"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            "asr_transducer",
            "asr_transducer_train cannot search .asr_task is 'asr_tr",
        ),
        ("hubert", "accepted with --search are: asr, st, slu, s2t, s2t_ctc, s2st, cls"),
        (
            "lightning",
            r"lightning_train cannot search \(use_lightning is true\); acc",
        ),
    ],
)
def test_trainings_that_cannot_search(task, message):
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        run.main(["--search", "-m", f"espnet2.bin.{task}_train", "--config", "x.yaml"])


@pytest.mark.parametrize(
    ("yaml", "options", "message"),
    [
        ("ngpu: 64", [], "ngpu is 64, but torch finds .* CUDA devices? here; accepted"),
        (
            "",
            ["--ngpu", "64"],
            "ngpu is 64, but torch finds .* CUDA devices? here; a",
        ),
        (
            "frontend_conf: {n_mels: 40}",
            [],
            "statistics of 80 dimensions, but the features of this training have 40;",
        ),
        ("frontend: null\ninput_size: 83", [], "the features of this training have 83"),
    ],
)
def test_trainings_that_could_not_end_well(tmp_path, yaml, options, message):
    zeros = np.zeros(80, np.float32)
    stats = tmp_path / "feats_stats.npz"
    np.savez(stats, count=np.array(3), sum=zeros, sum_square=zeros)
    (tmp_path / "x.yaml").write_text(yaml or "max_epoch: 1")
    argv = ["-m", "espnet2.bin.asr_train", "--config", str(tmp_path / "x.yaml")]
    argv += ["--normalize", "global_mvn", "--normalize_conf", f"stats_file={stats}"]
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        run.main([*argv, "--token_list", "-", *options])


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("frontend_conf: {n_mels: 40}", "trains on frames of 40: its cost and"),
        ("frontend_conf: {n_mels: 80}", None),
        ("frontend: null\ninput_size: 83", "trains on frames of 83"),
    ],
)
def test_retraining_on_other_features_than_the_search(
    tmp_path, monkeypatch, capsys, text, warned
):
    arch, template = Architecture(SPACE, Provenance(input_size=80)), tmp_path / "t.yaml"
    template.write_text(text)
    write_training_config(arch, template, tmp_path / "train.yaml", "a search")
    monkeypatch.setattr("espnet2.bin.asr_train.main", lambda: None)
    argv = ["-m", "espnet2.bin.asr_train", "--config", str(tmp_path / "train.yaml")]
    run.main([*argv, "--token_list", "-"])
    said = capsys.readouterr().err
    start = "warning: the architecture was found on input frames of 80 dimensions, and "
    if warned is None:
        assert "warning: the architecture" not in said
    else:
        assert start in said and warned in said


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_help(argv, capsys):
    run.main(argv)
    assert "usage: python3 -m espnet_stnas.run" in capsys.readouterr().out


def test_config_errors_are_one_sentence(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from espnet_stnas.errors import ConfigError\nraise ConfigError('width is 0')\n"
    )
    with pytest.raises(SystemExit, match="^error: width is 0$"):
        run.main([str(script)])


@pytest.mark.parametrize(("value", "shown"), [("1", True), ("0", False), ("", False)])
def test_traceback_behind_a_sentence(tmp_path, monkeypatch, capsys, value, shown):
    script = tmp_path / "script.py"
    script.write_text(
        "from espnet_stnas.errors import ConfigError\n"
        "try:\n    {}['width']\n"
        "except KeyError as error:\n    raise ConfigError('no width') from error\n"
    )
    monkeypatch.setenv("STNAS_DEBUG", value)
    with pytest.raises(SystemExit, match="^error: no width$"):
        run.main([str(script)])
    written = capsys.readouterr().err
    assert ("KeyError: 'width'" in written) == shown
    assert ("Traceback" in written) == shown


def test_damaged_yaml_is_one_sentence(tmp_path):
    (tmp_path / "x.yaml").write_text("a: [1\nb: 2")
    script = tmp_path / "script.py"
    script.write_text(f"import yaml\nyaml.safe_load(open('{tmp_path / 'x.yaml'}'))\n")
    with pytest.raises(SystemExit, match="error: a YAML file is damaged: .*x.yaml.*l"):
        run.main([str(script)])


@pytest.mark.parametrize(("name", "protected"), [("a_train", True), ("a_infer", False)])
def test_trainings_save_whole_files(monkeypatch, tmp_path, name, protected, capsys):
    import espnet2.bin
    import torch

    (tmp_path / f"{name}.py").write_text(
        "import torch\ndef main():\n    print(type(torch.save).__name__)\n"
    )
    monkeypatch.setattr(espnet2.bin, "__path__", [*espnet2.bin.__path__, str(tmp_path)])
    original = torch.save
    run.main(["-m", f"espnet2.bin.{name}"])
    assert capsys.readouterr().out.strip() == (
        "_WholeSaves" if protected else "function"
    )
    assert torch.save is original


@pytest.mark.parametrize(("name", "protected"), [("a_train", True), ("a_infer", False)])
def test_workers_of_a_training_save_whole_files(tmp_path, name, protected):
    """Processes that ESPnet spawns import the main module again, by another name."""
    code = (
        "import runpy, sys\n"
        "runpy.run_module('espnet_stnas.run', run_name='__mp_main__')\n"
        "import torch\n"
        "torch.save({'epoch': 1}, sys.argv[1])\n"
        "print(type(torch.save).__name__)\n"
    )
    script = tmp_path / f"{name}.py"
    script.write_text(code)
    checkpoint = tmp_path / "checkpoint.pth"
    output = subprocess.run(
        [sys.executable, str(script), str(checkpoint)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(run.__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(Path(run.__file__).parents[1])},
    ).stdout
    assert output.split()[-1] == ("_WholeSaves" if protected else "function")
    assert checkpoint.exists()
    assert [p.name for p in tmp_path.glob(".*")] == []
