"""What a weight step of a distributed search sends, in bytes on the wire.

    python benchmarks/traffic.py

Two processes on this machine take weight steps; the bytes are those that the kernel
counts on the loopback interface (so nothing else should use it), per process and step.
All candidates are of one size: what grows with K is what is sent for nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Optional

import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import markdown_table
from benchmarks.processes import finish, free_port, start
from espnet_stnas.estimators import build_estimator
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.search.ranks import union_over_ranks
from espnet_stnas.search.traffic import path_traffic
from espnet_stnas.supernet.supernet import Supernet, build_supernet, path_generator

WAYS = ("DDP alone", "same", "per_rank")
RANKS = 2


def search_space(candidates: int, width: int, choices: int) -> SearchSpace:
    """Choices between dilations, which need no weights of their own."""
    choice = [f"tdnn-C1D{d}" for d in range(1, candidates + 1)]
    return SearchSpace.from_conf(
        {"width": width, "layers": [{"repeat": choices, "layers": [choice]}]}
    )


def train_rank(
    rank: int, port: int, way: str, candidates: int, width: int, steps: int, out: str
) -> None:
    """Take weight steps and write down the bytes of all but the first."""
    torch.distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", world_size=RANKS, rank=rank
    )
    torch.manual_seed(0)
    supernet = build_supernet(search_space(candidates, width, 6), width)
    assert isinstance(supernet, Supernet)
    model = torch.nn.parallel.DistributedDataParallel(
        supernet.train(), find_unused_parameters=True
    )
    traffic = None if way == "DDP alone" else path_traffic(model, supernet)
    estimator = build_estimator("uniform")
    inputs, lengths = torch.randn(2, 60, width), torch.tensor([60, 50])
    before = 0
    for step in range(steps + 1):
        if step == 1:
            torch.distributed.barrier()
            before = loopback_bytes()
        generator = path_generator(0, 1, step, "weights", rank * (way == "per_rank"))
        gates = supernet.weight_gates(estimator, generator)
        if traffic is not None:
            paths = tuple(frozenset(gate.active) for gate in gates)
            if way == "per_rank":
                paths = union_over_ranks(paths, [candidates] * len(gates), "cpu")
            traffic.paths = paths
        model.zero_grad()
        with supernet.routed(gates):
            model(inputs, lengths)[0].square().mean().backward()
    torch.distributed.barrier()
    sent = (loopback_bytes() - before) / steps / RANKS
    path = sum(p.numel() for p in supernet.parameters() if p.grad is not None)
    Path(out).write_text(f"{sent} {4 * path}")


def loopback_bytes() -> int:
    """Bytes that the kernel has sent over the loopback interface."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[8])
    raise RuntimeError("/proc/net/dev has no interface 'lo'")


def measure(way: str, candidates: int, width: int, steps: int) -> tuple[float, float]:
    """Bytes sent and bytes of the gradients of the last path, of rank 0."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        outs = [Path(directory) / f"{rank}.txt" for rank in range(RANKS)]
        logs = [out.with_suffix(".log") for out in outs]
        processes = [
            start(
                "benchmarks.traffic:train_rank",
                log,
                *(rank, port, way, candidates, width, steps, str(out)),
            )
            for rank, (out, log) in enumerate(zip(outs, logs, strict=True))
        ]
        for process, log in zip(processes, logs, strict=True):
            with closing(process):
                finish(process, log)
        sent, path = outs[0].read_text().split()
    return float(sent), float(path)


def main(cmd: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--candidates", type=int, nargs="+", default=[2, 4, 8, 16])
    args = parser.parse_args(cmd)
    rows = []
    for candidates in args.candidates:
        cells = []
        for way in WAYS:
            sent, path = measure(way, candidates, args.width, args.steps)
            cells.append(f"{sent / 1e6:.2f}")
            if way == "same":
                gradient = f"{path / 1e6:.2f}"
        rows.append((f"K = {candidates}", gradient, *cells))
    print(
        markdown_table(
            ["MB of a weight step", "gradients of a path", *WAYS],
            rows,
        )
    )


if __name__ == "__main__":
    main()
