"""Measures latencies on a device, keeps them in a file, and reads them back."""

from __future__ import annotations

import math
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import trange

from espnet_stnas.cost.counts import layer_lengths
from espnet_stnas.cost.table import CostTable
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.messages import quote
from espnet_stnas.network.network import NetworkLayer, check_size
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.topology import Layer

FORMAT = 1
_WARM_UP = 3
_HEADER = """\
# Latency of every candidate of every layer in microseconds, by
# stnas measure-latency: medians over one utterance at a time.
"""
_REMEDY = "measure it with stnas measure-latency"


@dataclass(frozen=True)
class LatencyTable:
    """Latencies of a search space, with the conditions of the measurement.

    Args:
        space: Digest of the search space.
        input_size: Dimensions of an input frame.
        frames: Length of the utterance in frames.
        device: Name of the device.
        threads: CPU threads of torch.
        repeat: Number of measurements; their median is taken.
        torch: Version of torch.
        layers: For each layer, microseconds by candidate.
    """

    space: str
    input_size: int
    frames: int
    device: str
    threads: int
    repeat: int
    torch: str
    layers: tuple[Mapping[str, float], ...]

    def write(self, path: PathLike) -> None:
        """Write the file, whole or not at all."""
        data = {"format": FORMAT, **asdict(self)}
        data["layers"] = [dict(layer) for layer in self.layers]
        write_text(path, _HEADER + dump_yaml(data))

    @classmethod
    def read(cls, path: PathLike) -> LatencyTable:
        """Read a file of latencies.

        Raises:
            ConfigError: If the file is missing or damaged.
        """
        data = read_yaml_mapping(path, "latency table")
        kinds: dict[str, type] = {
            "space": str,
            "device": str,
            "torch": str,
            "layers": list,
        }
        kinds |= dict.fromkeys(("format", "input_size", "frames"), int)
        kinds |= dict.fromkeys(("threads", "repeat"), int)
        for key, kind in kinds.items():
            if type(data.get(key)) is not kind:
                raise ConfigError(
                    f"latency table {path}: {key} is {quote(data.get(key))}, and "
                    f"should be of type {kind.__name__}; {_REMEDY}"
                )
        if data["format"] != FORMAT:
            raise ConfigError(
                f"latency table {path} has format {data['format']}; accepted is "
                f"{FORMAT}: {_REMEDY}"
            )
        for number, layer in enumerate(data["layers"], start=1):
            if not isinstance(layer, dict) or not all(map(_is_time, layer.values())):
                raise ConfigError(
                    f"latency table {path}: layer {number} is {quote(layer)}; accepted "
                    f"is a mapping from candidates to microseconds: {_REMEDY}"
                )
        fields = {key: data[key] for key in kinds if key not in ("format", "layers")}
        return cls(**fields, layers=tuple(data["layers"]))

    def costs(self, space: SearchSpace, input_size: int, name: PathLike) -> CostTable:
        """Return the costs of a space in microseconds.

        Args:
            space: The search space.
            input_size: Dimensions of an input frame.
            name: The file, for errors.

        Raises:
            ConfigError: If it was measured for another space, or lacks a candidate.
        """
        if self.space != space.digest:
            raise ConfigError(
                f"latency table {name} is of another search space ({quote(self.space)},"
                f" and this one is '{space.digest}'); {_REMEDY}"
            )
        if self.input_size != input_size:
            raise ConfigError(
                f"latency table {name} is for input_size {self.input_size}, and here "
                f"it is {input_size}; {_REMEDY}"
            )
        costs = []
        for index, layer in enumerate(space.layers):
            found = self.layers[index] if index < len(self.layers) else {}
            names = [str(op) for op in layer.candidates]
            missing = [op for op in names if op not in found]
            if missing:
                raise ConfigError(
                    f"latency table {name} lacks candidate '{missing[0]}' of "
                    f"{space.layer_name(index)}; {_REMEDY}"
                )
            costs.append([found[op] for op in names])
        return CostTable.from_layers("latency", space, costs)


def _is_time(value: Any) -> bool:
    good = type(value) in (int, float) and 0 <= value < 1e15
    return good and math.isfinite(value)


@torch.no_grad()
def measure_latency(
    space: SearchSpace,
    input_size: int,
    frames: int,
    *,
    device: str = "cpu",
    threads: int = 1,
    repeat: int = 20,
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
        threads: CPU threads of torch.
        repeat: Number of timed rounds, after some rounds that are not timed.

    Raises:
        ConfigError: If an argument is out of range or the device is missing.
    """
    _check(device, threads, repeat)
    check_size(space, input_size)
    lengths = layer_lengths(space, frames)
    on = torch.device(device)
    tasks: dict[Any, Callable[[], object]] = {}
    places = []
    with torch.random.fork_rng(devices=[]):
        for layer, shape, length in zip(
            space.layers, space.shapes(input_size), lengths, strict=True
        ):
            places.append({str(op): (op, shape, length) for op in layer.candidates})
            for key in places[-1].values():
                if key not in tasks:
                    module = NetworkLayer(Layer((key[0],)), shape, space)
                    tasks[key] = _Task(module, shape.input_width, length, on)
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
    )


class _Task:
    """Runs a layer on one utterance of random numbers."""

    def __init__(
        self, layer: NetworkLayer, width: int, frames: int, device: torch.device
    ) -> None:
        self.layer = layer.eval().to(device)
        self.xs = torch.randn(1, frames, width, device=device)
        self.lengths = torch.tensor([frames], device=device)

    def __call__(self) -> None:
        self.layer(self.xs, self.lengths)


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


def _seconds(task: Callable[[], object], device: torch.device, threads: int) -> float:
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
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor() or platform.machine()
