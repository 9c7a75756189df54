"""Layers in onnxruntime, to measure how long they take."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import torch

from espnet_stnas.cost.latency import Runtime, Task
from espnet_stnas.errors import ConfigError
from espnet_stnas.export.check import onnx_runner
from espnet_stnas.export.encoder import Exportable, ExportedLayer
from espnet_stnas.export.program import export_program, onnx_bytes
from espnet_stnas.export.quantised import int8_bytes
from espnet_stnas.messages import quote
from espnet_stnas.network.network import NetworkLayer


def onnx_runtime(precision: str, device: str, threads: int) -> Runtime:
    """Return onnxruntime, for :func:`espnet_stnas.cost.latency.measure_latency`.

    With ``int8``, what onnxruntime does not quantise (norms, activations) keeps its
    precision, as in a file of ``stnas export --int8``.

    Args:
        precision: ``fp32`` or ``int8``.
        device: Where to run; ``cpu``.
        threads: CPU threads.

    Raises:
        ConfigError: If the device is another one, or onnxruntime is missing.
    """
    if device != "cpu":
        raise ConfigError(
            f"device is {quote(device)}; accepted with runtime 'onnxruntime' is 'cpu'"
        )
    try:
        found = version("onnxruntime")
    except PackageNotFoundError:
        raise ConfigError(
            "runtime 'onnxruntime' needs the package onnxruntime (pip install "
            "'espnet-stnas[export]')"
        ) from None

    def prepare(layer: NetworkLayer, xs: torch.Tensor, _: torch.Tensor) -> Task:
        return onnx_task(ExportedLayer(layer, xs.size(2)), xs, precision, threads)

    return Runtime("onnxruntime", precision, found, prepare)


def onnx_task(
    module: Exportable, xs: torch.Tensor, precision: str, threads: int
) -> Task:
    """Return a function that runs a module in onnxruntime.

    Args:
        module: A layer, an encoder or a recogniser.
        xs: One utterance (1, T, ...).
        precision: ``fp32`` or ``int8``.
        threads: CPU threads.
    """
    data = onnx_bytes(export_program(module), module, {})
    if precision == "int8":
        data = int8_bytes(data, required=False)
    runner, given = onnx_runner(data, threads), xs.numpy()
    return lambda: runner(given)
