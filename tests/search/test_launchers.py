"""Searches of two processes through ESPnet's launcher and torchrun, on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import free_port
from tests.search.conftest import command, search_config

# What they do on a cluster, without the cluster.
STAND_INS = {
    # slurm.pl [OPTION VALUE]... LOG COMMAND...
    "slurm.pl": """
while [ "${1#--}" != "$1" ]; do shift 2; done
log=$1
shift
exec "$@" > "$log" 2>&1
""",
    "srun": """
shift
export SLURM_PROCID SLURM_NODEID SLURM_NTASKS=2 SLURM_STEP_NUM_NODES=2
export SLURM_LOCALID=0 SLURM_STEP_NODELIST=localhost
pids=
for rank in 0 1; do
    SLURM_PROCID=$rank SLURM_NODEID=$rank "$@" &
    pids="$pids $!"
done
for pid in $pids; do wait "$pid"; done
""",
    # The arguments are a command for the shell of the other machine.
    "ssh": """
shift
exec bash -c "$*"
""",
}


def run(arguments: list[str], path: Path) -> None:
    result = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PATH": f"{path}:{os.environ['PATH']}",
        },
    )
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "slurm", "ssh"])
def test_two_processes_search_together(corpus, tmp_path, launcher):
    exp, log = tmp_path / "exp", tmp_path / "launch.log"
    for name, text in STAND_INS.items():
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text("#!/usr/bin/env bash\nset -eu\n" + text)
        script.chmod(0o755)
    program = [sys.executable, "-m", "espnet_stnas.run", "--search"]
    program += ["-m", "espnet2.bin.asr_train"]
    program += command(corpus, exp, search_config(max_epoch=2))
    if launcher == "torchrun":
        launch = [sys.executable, "-m", "torch.distributed.run", "--no-python"]
        launch += ["--nproc_per_node", "2", "--master_port", str(free_port())]
        launch += ["--log-dir", str(tmp_path / "logs"), "--redirects", "3"]
        program += ["--ngpu", "0", "--multiprocessing_distributed", "false"]
        program += ["--dist_backend", "gloo"]
    else:
        launch = [sys.executable, "-m", "espnet2.bin.launch", "--ngpu", "0"]
        launch += ["--log", str(log), "--init_file_prefix", str(tmp_path / ".init_")]
        if launcher == "slurm":
            launch += ["--cmd", str(tmp_path / "bin" / "slurm.pl"), "--num_nodes", "2"]
        else:
            (tmp_path / "path.sh").touch()
            launch += ["--host", "localhost,localhost"]
            launch += ["--envfile", str(tmp_path / "path.sh")]
        launch.append("--")
    run([*launch, *program], tmp_path / "bin")
    logs = [log] if log.exists() else list((tmp_path / "logs").rglob("*.log"))
    output = "".join(file.read_text() for file in logs)
    assert ":0/2]" in output
    assert (exp / "architectures" / "2epoch.yaml").exists()
