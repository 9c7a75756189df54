"""Registration in fresh interpreters, as users and ESPnet's launchers start them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CHECK = """
def registered(task):
    import importlib
    return "stnas" in importlib.import_module(f"espnet2.tasks.{task}").\
encoder_choices.classes
"""


def python(*arguments: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, **kwargs
    )


def test_import_is_light():
    code = "import espnet_stnas, sys; sys.exit(any(m in sys.modules for m in " + (
        "('torch', 'espnet2', 'numpy', 'yaml')))"
    )
    assert python("-c", code).returncode == 0


@pytest.mark.slow
def test_all_orders_of_import():
    """Before the task, after it, twice; tasks with another kind of encoder stay."""
    code = CHECK + (
        "import espnet2.tasks.st\n"
        "import espnet_stnas, importlib\n"
        "importlib.reload(espnet_stnas)\n"
        "import sys\n"
        "assert sum('TaskFinder' in str(f) for f in sys.meta_path) == 1\n"
        "assert registered('st') and registered('asr')\n"
        "import espnet2.tasks.enh\n"
        "assert 'stnas' not in espnet2.tasks.enh.encoder_choices.classes\n"
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_run_registers_in_spawned_workers(tmp_path):
    """As ESPnet's multi-GPU training starts them: spawn, main module imported again.

    The program is put among ESPnet's own, without CUDA ESPnet would not spawn.
    """
    (tmp_path / "sitecustomize.py").write_text(
        f"import espnet2.bin\nespnet2.bin.__path__.append({str(tmp_path)!r})\n"
    )
    (tmp_path / "spawner.py").write_text(
        CHECK + "import torch.multiprocessing as mp\n"
        "def worker(queue):\n"
        "    queue.put(registered('asr'))\n"
        "def main():\n"
        "    context = mp.get_context('spawn')\n"
        "    queue = context.Queue()\n"
        "    process = context.Process(target=worker, args=(queue,))\n"
        "    process.start()\n"
        "    print('spawned:', queue.get(timeout=100))\n"
        "    process.join()\n"
    )
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    result = python(
        *("-W", "error::RuntimeWarning", "-m", "espnet_stnas.run"),
        *("-m", "espnet2.bin.spawner"),
        env={**os.environ, "PYTHONPATH": path},
    )
    assert "spawned: True" in result.stdout, result.stderr
