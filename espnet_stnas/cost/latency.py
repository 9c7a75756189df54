"""Measures how long the candidates of a search space take on this machine."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import trange

from espnet_stnas.cost.counts import layer_lengths
from espnet_stnas.cost.latency_table import LatencyTable, processor_name, this_machine
from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote
from espnet_stnas.network.network import NetworkLayer, check_size
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.topology import Layer

_WARM_UP = 3
Task = Callable[[], object]
Prepare = Callable[[NetworkLayer, torch.Tensor, torch.Tensor], Task]
"""Makes a function that runs a layer on frames (1, T, D) with lengths (1,)."""


@dataclass(frozen=True)
class Runtime:
    """What runs the layers.

    Args:
        name: ``torch``, ``onnxruntime`` or another name.
        precision: ``fp32`` or ``int8``.
        version: Its version.
        prepare: Makes a layer ready to run.
    """

    name: str
    precision: str
    version: str
    prepare: Prepare


def _in_torch(layer: NetworkLayer, xs: torch.Tensor, lengths: torch.Tensor) -> Task:
    layer = layer.eval().to(xs.device)
    return lambda: layer(xs, lengths)


TORCH = Runtime("torch", "fp32", str(torch.__version__), _in_torch)


@torch.no_grad()
def measure_latency(
    space: SearchSpace,
    input_size: int,
    frames: int,
    *,
    device: str = "cpu",
    threads: int = 1,
    repeat: int = 20,
    runtime: Runtime = TORCH,
) -> LatencyTable:
    """Measure every candidate of every layer on one utterance.

    The time of a candidate includes the skip of its layer and the zeroing of padding.
    Equal candidates of layers with equal sizes are measured once. Each round measures
    all candidates in a new random order, so that a slow moment of the machine affects
    all of them. With one thread on a CPU, the time is CPU time, which other programs
    disturb less than wall time. Otherwise, it is the wall time until the device has
    finished.

    Args:
        space: The search space.
        input_size: Dimensions of an input frame.
        frames: Length of the utterance in frames.
        device: ``cpu`` or ``cuda``.
        threads: CPU threads.
        repeat: Number of timed rounds, after some rounds that are not timed.
        runtime: What runs the layers.

    Raises:
        ConfigError: If an argument is out of range or the device is missing.
    """
    _check(device, threads, repeat)
    check_size(space, input_size)
    lengths = layer_lengths(space, frames)
    on = torch.device(device)
    tasks: dict[Any, Task] = {}
    places = []
    with torch.random.fork_rng(devices=[]):
        for layer, shape, length in zip(
            space.layers, space.shapes(input_size), lengths, strict=True
        ):
            places.append({str(op): (op, shape, length) for op in layer.candidates})
            for key in places[-1].values():
                if key not in tasks:
                    module = NetworkLayer(Layer((key[0],)), shape, space)
                    xs = torch.randn(1, length, shape.input_width, device=on)
                    valid = torch.tensor([length], device=on)
                    tasks[key] = runtime.prepare(module, xs, valid)
    times: dict[Any, list[float]] = {key: [] for key in tasks}
    # disable=None: show the bar on a terminal only.
    rounds = trange(_WARM_UP + repeat, desc="rounds", leave=False, disable=None)
    with _threads(threads), rounds:
        for number in rounds:
            order = list(tasks)
            random.Random(number).shuffle(order)
            for key in order:
                elapsed = _seconds(tasks[key], on, threads)
                if number >= _WARM_UP:
                    times[key].append(elapsed)
    medians = {key: round(1e6 * statistics.median(t), 2) for key, t in times.items()}
    return LatencyTable(
        space=space.digest,
        input_size=input_size,
        frames=frames,
        device=device_name(on),
        threads=threads,
        repeat=repeat,
        torch=str(torch.__version__),
        layers=tuple({op: medians[key] for op, key in p.items()} for p in places),
        runtime=runtime.name,
        precision=runtime.precision,
        machine=this_machine(),
        runtime_version=runtime.version,
    )


def _check(device: str, threads: int, repeat: int) -> None:
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"device is {quote(device)}; accepted are: cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch finds no CUDA device here")
    for name, value in (("threads", threads), ("repeat", repeat)):
        if not 1 <= value <= 10_000:
            raise ConfigError(
                f"{name} is {value}; accepted is an integer from 1 to 10000"
            )


def _seconds(task: Task, device: torch.device, threads: int) -> float:
    if device.type == "cpu" and threads == 1:
        # One thread on a CPU never waits for a device. So its CPU time is the time that
        # it takes on a machine without other load.
        start = time.process_time()
        task()
        return time.process_time() - start
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    task()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_name(device: torch.device) -> str:
    """Return the name of the GPU or of this machine's processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name()
