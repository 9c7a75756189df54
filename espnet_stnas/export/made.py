"""Files in memory, which were compared with their model before they get a name."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

import numpy as np
import torch

from espnet_stnas.export.check import (
    STREAMING_TOLERANCE,
    TOLERANCE,
    ChunkRunner,
    Comparison,
    Reference,
    Runner,
    compare,
    onnx_runner,
    program_runner,
    refuse_difference,
)
from espnet_stnas.export.encoder import Exportable
from espnet_stnas.export.program import export_program, onnx_bytes, program_bytes
from espnet_stnas.export.quantised import int8_bytes
from espnet_stnas.export.training import Training
from espnet_stnas.selection.greedy import TestSet

HEADER = ("", "kB", "ms an utterance", "largest difference", "frames of other symbols")


@dataclass(frozen=True)
class Made:
    """A file that is not yet written.

    Args:
        name: What it is, for people.
        data: Its contents.
        runner: Runs it.
        comparison: How it differs from the model.
        wer: Word error rate of greedy decoding, in percent.
        cer: The same of tokens.
    """

    name: str
    data: bytes
    runner: Runner
    comparison: Comparison
    wer: Optional[float] = None
    cer: Optional[float] = None

    def scored(self, training: Training, test: TestSet, most: Optional[int]) -> Made:
        """Return this file with its error rates.

        Args:
            training: Where it comes from.
            test: Speech and its transcripts.
            most: Take so many utterances; None for all.
        """
        wer, cer = training.error_rates(self.runner, test, most)
        return replace(self, wer=wer, cer=cer)

    @property
    def call_milliseconds(self) -> Optional[float]:
        """Median time of a call with one chunk; None if it takes whole utterances."""
        if not isinstance(self.runner, ChunkRunner):
            return None
        return 1000 * statistics.median(self.runner.seconds)

    def row(self) -> list[str]:
        """Return its cells for the columns of ``HEADER``, and its error rates."""
        found = self.comparison
        rates = [f"{rate:.2f}" for rate in (self.wer, self.cer) if rate is not None]
        return [
            self.name,
            f"{len(self.data) / 1000:.0f}",
            f"{found.milliseconds:.3g}",
            f"{found.difference:.2g}",
            "" if found.other_best is None else str(found.other_best),
            *rates,
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return all but the contents."""
        return {
            "name": self.name,
            "bytes": len(self.data),
            "wer": self.wer,
            "cer": self.cer,
            "call_milliseconds": self.call_milliseconds,
            **asdict(self.comparison),
        }


def make(
    training: Training, module: Exportable, speech: Sequence[np.ndarray], suffix: str
) -> Made:
    """Export a module.

    Args:
        training: Where it comes from.
        module: What is exported.
        speech: Inputs to compare with.
        suffix: ``.onnx`` or ``.pt2``.

    Raises:
        ConfigError: If it cannot be exported, or gives other outputs than the model.
    """
    program = export_program(module)
    metadata = {**training.metadata(), **module.metadata()}
    if suffix == ".onnx":
        data = onnx_bytes(program, module, metadata)
        name, runner = "onnx", onnx_runner(data, torch.get_num_threads())
    else:
        data = program_bytes(program, metadata)
        name, runner = "torch.export", program_runner(data)
    found = compare(runner, Reference(training.model, training.given), speech)
    chunks = isinstance(runner, ChunkRunner)
    refuse_difference(found, "the file", STREAMING_TOLERANCE if chunks else TOLERANCE)
    return Made(name, data, runner, found)


def make_int8(training: Training, made: Made, speech: Sequence[np.ndarray]) -> Made:
    """Quantise an ONNX file.

    Args:
        training: Where it comes from.
        made: The file.
        speech: Inputs to compare with.

    Raises:
        ConfigError: If onnxruntime cannot quantise or run it.
    """
    data = int8_bytes(made.data)
    runner = onnx_runner(data, torch.get_num_threads())
    found = compare(runner, Reference(training.model, training.given), speech)
    return Made("onnx, int8", data, runner, found)
