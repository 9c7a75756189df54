from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_stnas import run


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
    ("argv", "message"),
    [
        (["-m"], "error: -m needs the name of a module"),
        (["-m", "no.such.module"], "error: there is no module 'no.such.module'"),
        (["-x"], "error: unknown option '-x'"),
        (["nowhere.py"], "error: there is no script 'nowhere.py'"),
    ],
)
def test_wrong_usage_is_one_sentence(argv, message):
    with pytest.raises(SystemExit, match=message):
        run.main(argv)


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
