"""A disk that is full, or closed: the old files stay, and one sentence says why.

A child process with a limit on the size of its files sees what a full disk does: the
first bytes can be written, the others cannot.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import WriteError
from espnet_stnas.files import write_text
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import search_provenance
from espnet_stnas.search import program
from tests.disk import small_files
from tests.fuzz.inputs import litter, refused
from tests.fuzz.test_programs import small_experiment
from tests.search.conftest import (
    command,
    corpus,
    derive,
    finished_search,
    search_config,
)

__all__ = ["corpus", "finished_search"]  # fixtures of the searches

SPACE = SearchSpace.from_conf({"layers": [["tdnn-C1D1", "tdnn-C2D2"]], "width": 8})
CHILD = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def on_a_full_disk(limit: int, module: str, options: Sequence[str]) -> str:
    """Run a command that can write ``limit`` bytes to a file; returns its sentence."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(limit), "espnet_stnas", module]
        + list(options),
        capture_output=True,
        text=True,
        env={**os.environ, "MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR", "/tmp")},
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("error: ")
    return sentence


@pytest.fixture
def experiment(tmp_path) -> Path:
    exp = tmp_path / "exp"
    config = {"encoder": "stnas", "encoder_conf": SPACE.to_conf(), "warmup_epochs": 0}
    exp.mkdir()
    (exp / "config.yaml").write_text(yaml.safe_dump(config))
    provenance = search_provenance(SPACE, [[0.2, 0.8]], epoch=1, seed=0, searching=True)
    architecture = Architecture(SPACE.resolve([1]), provenance)
    architecture.write(exp / "architectures" / "1epoch.yaml")
    (tmp_path / "template.yaml").write_text(yaml.safe_dump({"optim": "adam"}))
    return exp


@pytest.mark.parametrize("module", ["derive", "report"])
def test_a_full_disk_leaves_the_old_files(experiment, tmp_path, module):
    output = tmp_path / "output"
    output.mkdir()
    old = "old\n" * 100
    name = {"derive": "arch.yaml", "report": "report.html"}[module]
    (output / name).write_text(old)
    options = {
        "derive": [str(experiment), "--output", str(output / name)],
        "report": [str(experiment), "--output", str(output)],
    }[module]
    sentence = on_a_full_disk(100, module, options)
    assert sentence == f"error: {output / name} cannot be written: File too large"
    assert (output / name).read_text() == old
    assert [p.name for p in output.iterdir()] == [name]


@pytest.mark.slow
def test_a_full_disk_while_a_checkpoint_is_written(corpus, tmp_path):
    """The second epoch cannot be saved: the first stays, and the search can go on."""
    exp = tmp_path / "exp"
    config = search_config(warmup_epochs=0)
    program.main(command(corpus, exp, config, "--max_epoch", "1"))
    size = (exp / "checkpoint.pth").stat().st_size
    before = {p: p.read_bytes() for p in exp.glob("*.pth")}
    options = command(corpus, exp, config, "--max_epoch", "2")
    sentence = on_a_full_disk(size // 2, "search", options)
    assert sentence == (
        f"error: {exp}/checkpoint.pth cannot be written: the disk is full, or the "
        "directory cannot be written to; what was saved before is as it was"
    )
    assert {p: p.read_bytes() for p in exp.glob("*.pth")} == before
    assert litter(exp) == []
    program.main(options)
    checkpoint = torch.load(exp / "checkpoint.pth", weights_only=True)
    assert checkpoint["reporter"]["epoch"] == 2


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> Path:
    return small_experiment(tmp_path_factory.mktemp("training") / "exp")


@pytest.mark.parametrize("name", ["init.pth", "encoder.onnx", "encoder.pt2"])
def test_large_files(request, tmp_path, capsys, name):
    """Weights and exported encoders, into a directory that does not exist yet."""
    if name.endswith(".onnx"):
        pytest.importorskip("onnxscript", reason="needs extra 'export'")
    if name == "init.pth":
        options = ["derive", str(request.getfixturevalue("finished_search"))]
        options.append(f"--init_output={tmp_path}/new/{name}")
    else:
        options = ["export", str(request.getfixturevalue("training"))]
        options += ["--model_file=model.pth", f"--output={tmp_path}/new/{name}"]
    file = tmp_path / "new" / name
    with (
        small_files(1000),
        pytest.raises(
            SystemExit, match=f"^error: {file} cannot be written: File too large$"
        ),
    ):
        stnas(options)
    assert list(file.parent.iterdir()) == []
    derive(*options[1:]) if options[0] == "derive" else stnas(options)
    assert [p.name for p in file.parent.iterdir()] == [name]
    before = file.read_bytes()
    with small_files(1000), pytest.raises(SystemExit, match="File too large"):
        stnas(options)
    assert file.read_bytes() == before
    assert litter(tmp_path) == []


def closed(tmp_path: Path, kind: str) -> Path:
    """A directory in which nothing can be made."""
    path = tmp_path / "closed"
    if kind == "file":
        path.write_text("not a directory")
    else:
        path.mkdir()
        path.chmod(0o500)
    return path


KINDS = ["file"]
if os.geteuid() != 0:  # root may write everywhere
    KINDS.append("mode")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("module", ["derive", "report", "baselines", "score"])
def test_a_closed_directory(experiment, tmp_path, capsys, kind, module):
    output = closed(tmp_path, kind)
    (tmp_path / "text").write_text("utt1 a b\n")
    options = {
        "derive": [str(experiment), f"--output={output}/arch.yaml"],
        "report": [str(experiment), f"--output={output}/report"],
        "baselines": [
            f"{experiment}/config.yaml",
            f"--train_config={tmp_path}/template.yaml",
            f"--output={output}",
            "--random=1",
        ],
        "score": [
            *(f"{tmp_path}/text", f"{tmp_path}/text"),
            f"--output={output}/score.yaml",
        ],
    }[module]
    with pytest.raises(SystemExit, match=f"error: {output}.* cannot be written: "):
        stnas([module, *options])
    assert refused(stnas, [module, *options], capsys)


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_without_a_place(corpus, tmp_path, capsys, kind):
    output = closed(tmp_path, kind) / "exp"
    yaml_file = tmp_path / "search"
    options = command(corpus, yaml_file, search_config(), "--output_dir", str(output))
    assert refused(program.main, options, capsys)


def test_what_stands_in_the_way_is_named(tmp_path):
    (tmp_path / "arch.yaml").mkdir()
    with pytest.raises(WriteError, match="arch.yaml cannot be written: Is a directory"):
        write_text(tmp_path / "arch.yaml", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["arch.yaml"]
