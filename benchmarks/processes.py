"""Trainings in processes of their own, which can be killed.

They are forked from a server that has imported ESPnet and done nothing else, so that
each starts in an instant.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import socket
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

PRELOAD = ["espnet_stnas.search.program", "espnet2.bin.asr_train"]


def start(function: str, log: Path, *arguments: object) -> BaseProcess:
    """Call a function in a new process.

    Args:
        function: Where it is: ``package.module:name``.
        log: File that gets all the process prints.
        arguments: Arguments of the function.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=_call, args=(function, str(log), arguments))
    process.start()
    return process


def finish(
    process: BaseProcess,
    log: Path,
    seconds: float = 300.0,
    codes: Sequence[int] = (0,),
) -> None:
    """Wait for the end of a process.

    Args:
        process: The process.
        log: File with all it prints.
        seconds: The longest time to wait.
        codes: Exit codes of success.

    Raises:
        RuntimeError: If it failed or took longer; with the end of its log.
    """
    process.join(seconds)
    if process.exitcode not in codes:
        process.kill()
        raise RuntimeError(f"exit code {process.exitcode}:\n{log.read_text()[-3000:]}")


def run_main(module: str, options: Sequence[str]) -> None:
    """Call the ``main`` of a module that has a command line."""
    importlib.import_module(module).main(list(options))


def rank_options(rank: int, world_size: int, port: int) -> list[str]:
    """ESPnet's options for one of several processes on a CPU."""
    return [
        *("--ngpu", "0", "--multiprocessing_distributed", "false"),
        *("--dist_backend", "gloo", "--dist_world_size", str(world_size)),
        *("--dist_rank", str(rank), "--dist_master_addr", "127.0.0.1"),
        *("--dist_master_port", str(port)),
    ]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def _call(function: str, log: str, arguments: Sequence[object]) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    module, name = function.split(":")
    getattr(importlib.import_module(module), name)(*arguments)
