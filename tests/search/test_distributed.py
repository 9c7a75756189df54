"""Two processes on a CPU, as ESPnet starts them: one per rank, gloo."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch

from tests.search.conftest import command, search_config


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "arch_data"), [("st", "train"), ("proxyless", "joint")]
)
def test_two_processes_search_together(corpus, tmp_path, estimator, arch_data):
    """Both finish, also with uneven numbers of batches, and hold the same model."""
    port = str(free_port())
    # An odd number of batches of an odd size: shares of the ranks differ.
    config = search_config(
        batch_size=5,
        max_epoch=2,
        arch_fraction=0.4,
        estimator=estimator,
        arch_data=arch_data,
    )
    processes = []
    for rank in range(2):
        arguments = command(corpus, tmp_path / "exp", config)
        distributed = [
            *("--ngpu", "0", "--multiprocessing_distributed", "false"),
            *("--dist_backend", "gloo", "--dist_world_size", "2"),
            *("--dist_rank", str(rank), "--dist_master_addr", "127.0.0.1"),
            *("--dist_master_port", port),
        ]
        # Rank 1 saves nothing by itself; to compare, both save their model at the end.
        code = (
            "import sys, torch\n"
            "from espnet_stnas.search.trainer import SearchTrainer\n"
            "from espnet_stnas.bin import asr_search\n"
            "run = SearchTrainer.run.__func__\n"
            "def spy(cls, *, model, **kwargs):\n"
            "    run(cls, model=model, **kwargs)\n"
            f"    torch.save(model.state_dict(), r'{tmp_path}/rank{rank}.pth')\n"
            "SearchTrainer.run = classmethod(spy)\n"
            "asr_search.main(sys.argv[1:])\n"
        )
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", code, *arguments, *distributed],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        )
    try:
        for process in processes:
            output, _ = process.communicate(timeout=200)
            assert process.returncode == 0, output[-3000:]
    finally:
        for process in processes:
            process.kill()
    one, two = (torch.load(tmp_path / f"rank{r}.pth") for r in range(2))
    assert one.keys() == two.keys()
    for key, value in one.items():
        if "running" not in key:  # DDP keeps those of rank 0 in the checkpoint
            torch.testing.assert_close(value, two[key], rtol=0, atol=0, msg=key)
    logits = [v for k, v in one.items() if k.endswith("logits")]
    assert all(v.abs().sum() > 0 for v in logits)
    assert (tmp_path / "exp" / "architectures" / "2epoch.yaml").exists()
