"""Compares exported files with the models of ESPnet that they come from."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, TypeVar

import numpy as np
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.export.metadata import STREAMING
from espnet_stnas.export.program import METADATA_FILE
from espnet_stnas.messages import one_line

# Probabilities, or outputs of an encoder relative to the largest one, may differ by so
# much: the order of sums is another one, and no more. Features that both compute differ
# most; what runs chunk by chunk computes none.
TOLERANCE = 1e-2
STREAMING_TOLERANCE = 1e-4
Runner = Callable[[np.ndarray], np.ndarray]
"""Runs a model on one utterance (1, T, ...), and returns its outputs (1, T', D)."""
_Result = TypeVar("_Result")
_Call = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Comparison:
    """How the outputs of a file differ from those of the model.

    Args:
        utterances: Compared utterances.
        frames: Their output frames.
        difference: The largest difference of an output.
        relative: The largest difference of a probability; of an encoder, the largest
            difference by the largest output.
        other_best: Frames whose best symbol is another one; None for an encoder.
        milliseconds: Mean time of the file for an utterance.
        torch_milliseconds: Mean time of the model in torch.
    """

    utterances: int
    frames: int
    difference: float
    relative: float
    other_best: Optional[int]
    milliseconds: float
    torch_milliseconds: float


class Reference:
    """The model of ESPnet, from what goes into a file to what comes out.

    Args:
        model: A model of ESPnet's ASR.
        given: What goes in: ``speech``, ``features`` or ``frames`` of the encoder.
    """

    def __init__(self, model: Any, given: str) -> None:
        self._model = model
        self.given = given

    @torch.inference_mode()
    def before(self, speech: torch.Tensor, lengths: torch.Tensor) -> np.ndarray:
        """Return what goes in for an utterance (1, S) or (1, T, D) of the training."""
        model = self._model
        if self.given != "speech" and model.frontend is not None:
            speech, lengths = model.frontend(speech, lengths)
        if self.given == "frames":
            for name in ("normalize", "preencoder"):
                part = getattr(model, name)
                if part is not None:
                    speech, lengths = part(speech, lengths)
        return speech.numpy()

    @torch.inference_mode()
    def __call__(self, given: np.ndarray) -> np.ndarray:
        """Return the outputs (1, T', D) for one utterance."""
        model = self._model
        # ESPnet normalises in place.
        xs, lengths = torch.tensor(given), torch.tensor([given.shape[1]])
        if self.given == "speech":
            encoded, _ = model.encode(xs, lengths)
        else:
            if self.given == "features" and model.normalize is not None:
                xs, lengths = model.normalize(xs, lengths)
            encoded, _, _ = model.encoder(xs, lengths)
        if self.given != "frames":
            encoded = model.ctc.log_softmax(encoded)
        return encoded.numpy()


def onnx_runner(data: bytes, threads: int) -> Runner:
    """Return a function that runs an ONNX model with onnxruntime, on the CPU.

    Of a model with ``mode: streaming``, it runs utterances chunk by chunk.

    Args:
        data: The file.
        threads: CPU threads.

    Raises:
        ConfigError: If onnxruntime is missing, or cannot load the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "ONNX files are checked with the package onnxruntime (pip install "
            f"'espnet-stnas[export]'): {one_line(error)}"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # of many kinds
        raise ConfigError(
            f"onnxruntime ({onnxruntime.__version__}) cannot run this model: "
            f"{type(error).__name__}: {one_line(error)[:500]}"
        ) from error
    names = [given.name for given in session.get_inputs()]

    def call(values: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return session.run(None, dict(zip(names, values, strict=True)))

    return _runner(call, session.get_modelmeta().custom_metadata_map)


def program_runner(data: bytes) -> Runner:
    """Return a function that runs a program of torch.export.

    Of a program with ``mode: streaming``, it runs utterances chunk by chunk.

    Args:
        data: The file.
    """
    extra = {METADATA_FILE: ""}
    module = torch.export.load(io.BytesIO(data), extra_files=extra).module()

    def call(values: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        with torch.inference_mode():
            found = module(*map(torch.tensor, values))
        return [one.numpy() for one in found]

    return _runner(call, json.loads(extra[METADATA_FILE]))


def _runner(call: _Call, metadata: Mapping[str, str]) -> Runner:
    if metadata.get("mode") == STREAMING:
        return ChunkRunner(call, metadata)
    return lambda given: call([given, np.array([given.shape[1]])])[0]


class ChunkRunner:
    """Runs a file of ``stnas export --streaming`` on whole utterances.

    Args:
        call: Calls it with the values of all inputs; returns those of all outputs.
        metadata: What the file says about itself.
    """

    def __init__(self, call: _Call, metadata: Mapping[str, str]) -> None:
        self._call = call
        self._chunk = int(metadata["chunk_frames"])
        self._states = json.loads(metadata["states"])
        self.seconds: list[float] = []
        """How long each call took."""

    def __call__(self, given: np.ndarray) -> np.ndarray:
        """Return the outputs (1, T', D) for one utterance (1, T, D)."""
        states = [np.zeros(s["shape"], s["dtype"]) for s in self._states]
        start, finished, found = 0, False, []
        while not finished:
            part = given[:, start : start + self._chunk]
            count = part.shape[1]
            start += count
            part = np.pad(part, ((0, 0), (0, self._chunk - count), (0, 0)))
            values = part, np.array([count]), np.array([start == given.shape[1]])
            begin = time.perf_counter()
            ys, counts, ends, *states = self._call([*values, *states])
            self.seconds.append(time.perf_counter() - begin)
            found.append(ys[:, : counts[0]])
            finished = bool(ends[0])
        return np.concatenate(found, axis=1)


def compare(
    runner: Runner, reference: Reference, utterances: Sequence[np.ndarray]
) -> Comparison:
    """Run a file and its model on the same utterances.

    Args:
        runner: Runs the file.
        reference: Runs the model.
        utterances: What goes in: (1, T, ...).

    Raises:
        ConfigError: If they differ in the number of frames.
    """
    runner(utterances[0]), reference(utterances[0])  # the first run takes longer
    found, seconds = _timed(runner, utterances)
    expected, torch_seconds = _timed(reference, utterances)
    frames = other_best = 0
    difference = relative = 0.0
    for one, other in zip(found, expected, strict=True):
        frames += other.shape[1]
        if one.shape != other.shape:
            raise ConfigError(
                f"the file gives {one.shape[1]} frames where the model gives "
                f"{other.shape[1]}; please report this"
            )
        if not other.size:
            continue
        difference = max(difference, float(np.abs(one - other).max()))
        if reference.given == "frames":
            apart = np.abs(one - other).max() / max(np.abs(other).max(), 1e-9)
        else:
            apart = np.abs(np.exp(one) - np.exp(other)).max()
            other_best += int((one.argmax(2) != other.argmax(2)).sum())
        relative = max(relative, float(apart))
    count = len(utterances)
    return Comparison(
        utterances=count,
        frames=frames,
        difference=difference,
        relative=relative,
        other_best=None if reference.given == "frames" else other_best,
        milliseconds=1000 * seconds / count,
        torch_milliseconds=1000 * torch_seconds / count,
    )


def refuse_difference(
    found: Comparison, what: str, tolerance: float = TOLERANCE
) -> None:
    """Refuse a file whose outputs are not those of the model.

    Args:
        found: The comparison.
        what: The file, for the message.
        tolerance: The largest difference; see :class:`Comparison`.

    Raises:
        ConfigError: If a difference is larger than rounding explains.
    """
    if not found.relative <= tolerance:
        raise ConfigError(
            f"{what} is not written, since its outputs differ from the model's by up "
            f"to {found.difference:.3g} (in probability, or of the largest output: "
            f"{found.relative:.3g}; accepted is {tolerance:g}); please report this"
        )


def _timed(
    function: Callable[[np.ndarray], _Result], utterances: Iterable[np.ndarray]
) -> tuple[list[_Result], float]:
    start = time.perf_counter()
    results = [function(one) for one in utterances]
    return results, time.perf_counter() - start
