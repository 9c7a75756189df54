"""Tables of latencies: what was measured, and under which conditions."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from espnet_stnas.cost.table import CostTable
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.messages import one_line, quote
from espnet_stnas.notation.space import SearchSpace

FORMAT = 1
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
        device: Name of the device: a GPU, or the processor.
        threads: CPU threads.
        repeat: Number of measurements; their median is taken.
        torch: Version of torch.
        layers: For each layer, microseconds by candidate.
        runtime: What ran the layers: ``torch``, ``onnxruntime``, or another name.
        precision: ``fp32`` or ``int8``, or another name.
        machine: Processor, number of CPUs and system.
        runtime_version: Version of the runtime.
    """

    space: str
    input_size: int
    frames: int
    device: str
    threads: int
    repeat: int
    torch: str
    layers: tuple[Mapping[str, float], ...]
    runtime: str = "torch"
    precision: str = "fp32"
    machine: str = ""
    runtime_version: str = ""

    @property
    def conditions(self) -> str:
        """How it was measured, in words."""
        elsewhere = self.machine not in ("", this_machine())
        parts = (
            " ".join(filter(None, (self.runtime, self.runtime_version))),
            self.precision,
            f"{self.threads} CPU thread(s)",
            self.device,
            f"on another machine ({self.machine})" if elsewhere else "",
        )
        return one_line(", ".join(filter(None, parts)))

    def require(
        self,
        name: PathLike,
        where: str,
        *,
        runtime: Optional[str] = None,
        precision: Optional[str] = None,
        device: Optional[str] = None,
    ) -> None:
        """Refuse a table of other conditions than those asked for.

        Args:
            name: The file, for errors.
            where: What the names of the options begin with, for errors.
            runtime: The runtime; None for any.
            precision: The precision; None for any.
            device: A part of the device's name; None for any.

        Raises:
            ConfigError: If a condition is another one.
        """
        if device is not None and device.lower() not in self.device.lower():
            wanted = f"device is {quote(device)}"
        elif runtime is not None and runtime != self.runtime:
            wanted = f"runtime is {quote(runtime)}"
        elif precision is not None and precision != self.precision:
            wanted = f"precision is {quote(precision)}"
        else:
            return
        raise ConfigError(
            f"latency table {name} was measured on {quote(self.device)} with runtime "
            f"{quote(self.runtime)} and precision {quote(self.precision)}, and "
            f"{where}{wanted}; measure it so with stnas measure-latency"
        )

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
        # The first tables of this format do not have these.
        texts = ("runtime", "precision", "machine", "runtime_version")
        kinds |= dict.fromkeys((key for key in texts if key in data), str)
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


def processor_name() -> str:
    """Return the name of this machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor() or platform.machine()


def this_machine() -> str:
    """Return processor, number of CPUs and system of this machine."""
    system = f"{platform.system()} {platform.machine()}"
    return f"{processor_name()}, {os.cpu_count()} CPUs, {system}"
