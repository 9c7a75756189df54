"""The opt-in that makes plain Python know the encoder, in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from espnet_stnas.cli.main import main
from espnet_stnas.host import autoload

PROBE = (
    "import sys; print('espnet_stnas' in sys.modules, 'torch' in sys.modules, "
    "any(type(f).__name__ == '_TaskFinder' for f in sys.meta_path))"
)


@pytest.fixture
def environment(tmp_path):
    """A bare virtual environment with the package, and the files beside it.

    Without pip: the package's own source, and a list of installed files.
    """
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True
    )
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    )
    source = Path(autoload.__file__).parents[2]
    # The package is where it is; what else it needs is in this environment.
    lines = [str(source), sysconfig.get_path("purelib")]
    (site / "a_path.pth").write_text("\n".join(lines) + "\n")
    info = site / "espnet_stnas-0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: espnet_stnas\n")
    (info / "RECORD").write_text("a_path.pth,,\nespnet_stnas-0.0.dist-info/RECORD,,\n")

    def run(*options):
        found = subprocess.run(
            [python, *options], capture_output=True, text=True, cwd=tmp_path
        )
        return found.stdout + found.stderr

    return run, site, info / "RECORD"


def test_enable_and_disable(environment):
    run, site, record = environment
    before = record.read_text()
    command = ("-m", "espnet_stnas", "autoload")
    assert run("-c", PROBE).split() == ["False"] * 3
    assert "autoload is disabled" in run(*command, "status")
    for _ in range(2):
        assert "autoload is enabled" in run(*command, "enable")
    assert "autoload is enabled" in run(*command, "status")
    assert run("-c", PROBE).split() == ["True", "False", "True"]
    # pip removes what is listed here.
    assert record.read_text() == before + f"{autoload.FILE},,\n"
    for _ in range(2):
        assert "autoload is disabled" in run(*command, "disable")
    assert record.read_text() == before
    assert not (site / autoload.FILE).exists()
    assert run("-c", PROBE).split() == ["False"] * 3


def test_left_over_file_is_silent(environment):
    """If the package goes in another way, Python starts as if nothing were there."""
    run, site, _ = environment
    run("-m", "espnet_stnas", "autoload", "enable")
    (site / "a_path.pth").unlink()
    assert run("-c", PROBE).split() == ["False"] * 3


def test_without_an_installation(monkeypatch):
    monkeypatch.setattr(autoload, "_record", lambda found: None)
    with pytest.raises(SystemExit, match="pip install it first"):
        main(["autoload", "status"])
