"""What the benchmarks share: timing, memory, and the tables they print."""

from __future__ import annotations

import ctypes
import platform
import random
import shlex
import sys
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Callable

import torch

from espnet_stnas.cost.latency import device_name
from espnet_stnas.errors import ConfigError
from espnet_stnas.version import __version__


def open_device(name: str, threads: int) -> torch.device:
    """The device to measure on, with torch limited to ``threads`` threads.

    Raises:
        ConfigError: If the number of threads is wrong or the machine has no such
            device.
    """
    if threads < 1:
        raise ConfigError(f"--threads is {threads}; accepted is 1 or more")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device is cuda, but torch finds no CUDA device here")
    torch.set_num_threads(threads)
    return torch.device(name)


def seconds(task: Callable[[], object], device: torch.device) -> float:
    """Seconds that one call takes.

    On the CPU these are CPU seconds, which other programs on the machine disturb
    less than the wall clock; elsewhere wall-clock seconds until the device is done.
    """
    if device.type == "cpu":
        start = time.process_time()
        task()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    task()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def interleaved(
    tasks: Mapping[str, Callable[[], object]],
    repeat: int,
    device: torch.device,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Time all tasks in turn, so that a slow moment of the machine hits them all.

    Args:
        tasks: What to time, by name.
        repeat: Timed rounds; one untimed round goes before them.
        device: Device that the tasks run on.
        seed: Seed of the order of the tasks, which changes from round to round.

    Returns:
        The seconds of every round, by name.
    """
    order = list(tasks)
    generator = random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in order}
    for number in range(repeat + 1):
        generator.shuffle(order)
        for name in order:
            elapsed = seconds(tasks[name], device)
            if number > 0:
                times[name].append(elapsed)
        label = f"round {number} of {repeat}" if number else "warm-up round"
        print(f"{label} done", file=sys.stderr, flush=True)
    return times


def saved_bytes(
    function: Callable[[], torch.Tensor], exclude: Iterable[torch.Tensor]
) -> int:
    """Bytes of memory that a forward pass keeps for its backward pass.

    A storage counts once and as a whole, however many tensors share it. What a graph
    that was dropped on the way had saved does not count.

    Args:
        function: The forward pass; its result is only kept until it is counted.
        exclude: Tensors that exist anyway: parameters, buffers, inputs.
    """
    own = {_address(tensor) for tensor in exclude}
    saved: weakref.WeakSet[_Saved] = weakref.WeakSet()

    def pack(tensor: torch.Tensor) -> _Saved:
        kept = _Saved(tensor)
        saved.add(kept)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        result = function()
    storages = {_address(s.tensor): s.tensor.untyped_storage() for s in saved}
    del result
    return sum(s.nbytes() for address, s in storages.items() if address not in own)


class _Saved:
    """What autograd holds instead of a saved tensor, as long as it needs it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def peak_bytes(task: Callable[[], object], device: torch.device) -> int:
    """Memory that a call needs at its peak, beyond what is held before it.

    On the CPU this is resident memory, known on Linux alone; 0 elsewhere.
    """
    if device.type == "cpu":
        return _resident_peak(task)
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    task()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _resident_peak(task: Callable[[], object]) -> int:
    process = Path("/proc/self")
    if not (process / "clear_refs").exists():
        return 0
    # What the allocator keeps would hide what the task needs.
    ctypes.CDLL(None).malloc_trim(0)
    # 5 resets the high-water mark (proc(5)).
    (process / "clear_refs").write_text("5")
    before = _status(process, "VmRSS")
    task()
    return _status(process, "VmHWM") - before


def _status(process: Path, field: str) -> int:
    lines = (process / "status").read_text().splitlines()
    value = next(line.split()[1] for line in lines if line.startswith(field + ":"))
    return int(value) * 1024


def environment(device: torch.device) -> dict[str, str]:
    """What a measurement depends on besides the code: device, versions, command."""
    return {
        "device": f"{device_name(device)}, {torch.get_num_threads()} CPU thread(s)",
        "torch": torch.__version__,
        "ESPnet": version("espnet"),
        "espnet_stnas": __version__,
        "Python": platform.python_version(),
        "command": "python " + shlex.join(sys.orig_argv[1:]),
    }


def header(device: torch.device) -> str:
    """The environment as a Markdown list, to stand above a table."""
    items = environment(device)
    items["command"] = f"`{items['command']}`"
    return "\n".join(f"- {name}: {value}" for name, value in items.items())


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, its first column aligned left and the others right."""
    table = [list(columns), ["---"] + ["---:"] * (len(columns) - 1)]
    table += [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in table)
