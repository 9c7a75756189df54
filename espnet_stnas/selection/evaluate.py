"""Evaluates architectures of a search with its shared weights."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cached_property
from typing import Optional

import torch
from tqdm import tqdm

from espnet_stnas.errors import ConfigError
from espnet_stnas.network.weights import Weights
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.inherit import weights_of_epoch
from espnet_stnas.selection.data import data_files
from espnet_stnas.selection.evaluation import Evaluation
from espnet_stnas.selection.log import DIRECTORY, Conditions, EvaluationLog
from espnet_stnas.selection.paths import PathIndices
from espnet_stnas.selection.scoring import PathScorer, Prepared

CALIBRATION = 20
# Architectures that are evaluated together. Each batch runs once for all of them, and
# what they have in common is computed once; then their results are written.
_TOGETHER = 64


class Evaluator:
    """Evaluates architectures, and keeps the results in the experiment.

    Args:
        experiment: The search; it may be running.
        epoch: Epoch of the weights; None: the last one.
        data: ``valid``, ``train`` or ``architecture``.
        device: ``cpu`` or ``cuda``.
        processes: Processes to use; on a GPU, one.
        calibration: Training batches for the statistics of batch norms. Those of the
            supernet mix all paths, so each architecture gets its own.

    Raises:
        ConfigError: If the search has no such epoch, weights or data, or an option is
            out of range.
    """

    def __init__(
        self,
        experiment: SearchExperiment,
        *,
        epoch: Optional[int] = None,
        data: str = "valid",
        device: str = "cpu",
        processes: int = 1,
        calibration: int = CALIBRATION,
    ) -> None:
        _check(device, processes, calibration)
        self.experiment = experiment
        self.epoch = experiment.architecture(epoch).provenance.epoch
        assert self.epoch is not None
        self._device = device
        self._processes = processes
        self._files = data_files(experiment, data)
        self._weights_file, self._weights = weights_of_epoch(experiment, self.epoch)
        self._calibration = calibration if has_batch_norm(self._weights) else 0
        self.conditions = Conditions(
            self.epoch, _digest(self._weights), self._files.digest, self._calibration
        )
        file = experiment.path / DIRECTORY / f"{data}.csv"
        self.log = EvaluationLog(file, experiment.space)
        self.known = self.log.read(self.conditions)

    def __call__(self, paths: Sequence[PathIndices]) -> list[Evaluation]:
        """Return the result of each architecture, given its candidate indices.

        Raises:
            ConfigError: If the data cannot be used.
        """
        missing = sorted({path for path in paths if path not in self.known})
        if missing:
            size = min(_TOGETHER, -(-len(missing) // self._processes))
            chunks = [missing[n : n + size] for n in range(0, len(missing), size)]
            self._work  # noqa: B018 (it reports what is wrong before the bar begins)
            # The log of a job also shows progress, but less often than a terminal.
            with tqdm(
                total=len(missing),
                desc="evaluating",
                unit="arch",
                mininterval=0.1 if sys.stderr.isatty() else 10,
            ) as bar:
                for chunk, results in self._results(chunks):
                    found = dict(zip(chunk, results, strict=True))
                    self.log.append(self.conditions, found)
                    self.known.update(found)
                    bar.update(len(chunk))
        return [self.known[path] for path in paths]

    def _results(
        self, chunks: Sequence[Sequence[PathIndices]]
    ) -> Iterator[tuple[Sequence[PathIndices], list[Evaluation]]]:
        work = self._work
        if self._processes == 1 or len(chunks) == 1:
            for chunk in chunks:
                yield chunk, work(chunk)
            return
        with _shared(work):
            context = multiprocessing.get_context("fork")
            with ProcessPoolExecutor(self._processes, context) as pool:
                futures = {pool.submit(_work_of_child, c): c for c in chunks}
                try:
                    for future in as_completed(futures):
                        yield futures[future], future.result()
                except BrokenProcessPool:
                    raise ConfigError(
                        f"one of {self._processes} processes ended too early, perhaps "
                        "for lack of memory; accepted are fewer processes, and what "
                        "is evaluated is kept"
                    ) from None
                finally:
                    pool.shutdown(cancel_futures=True)

    @cached_property
    def _work(self) -> Work:
        # Child processes must not inherit a pool of threads.
        if self._processes > 1:
            torch.set_num_threads(1)
        # ESPnet takes seconds to import, and results may all be known.
        from espnet_stnas.selection.source import Source

        source = Source(
            self.experiment, self._weights, self._weights_file, self._device
        )
        scorer = PathScorer(source.model)
        batches = [scorer.prepare(batch) for batch in source.batches(self._files)]
        if not batches:
            raise ConfigError(
                f"{', '.join(self._files.shapes)}: there is no batch to evaluate on"
            )
        training: list[Prepared] = []
        if self._calibration:
            files = data_files(self.experiment, "train")
            some = source.batches(files, most=self._calibration)
            training = [scorer.prepare(batch) for batch in some]
            logging.info(
                f"Statistics of batch norms: of {len(training)} training batches"
            )
        return Work(scorer, batches, training)


class Work:
    """Evaluates architectures on batches that are in memory.

    Args:
        scorer: The model.
        batches: The data set.
        training: Batches for the statistics of batch norms.
    """

    def __init__(
        self,
        scorer: PathScorer,
        batches: Sequence[Prepared],
        training: Sequence[Prepared] = (),
    ) -> None:
        self.scorer = scorer
        self.batches = batches
        self.training = training

    def __call__(self, paths: Sequence[PathIndices]) -> list[Evaluation]:
        """Return the result of each architecture, given its candidate indices."""
        statistics = self.scorer.calibrated(paths, self.training)
        columns = [self.scorer.score(paths, b, statistics) for b in self.batches]
        return [Evaluation.of(tallies) for tallies in zip(*columns, strict=True)]


# What child processes inherit; tensors in it are not copied.
_work: Optional[Work] = None


@contextmanager
def _shared(work: Work) -> Iterator[None]:
    global _work
    _work = work
    try:
        yield
    finally:
        _work = None


def _work_of_child(paths: Sequence[PathIndices]) -> list[Evaluation]:
    assert _work is not None
    return _work(paths)


def _check(device: str, processes: int, calibration: int) -> None:
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"device is '{device}'; accepted are: cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch finds no CUDA device here")
    if not 1 <= processes <= 1000:
        raise ConfigError(
            f"processes is {processes}; accepted is an integer from 1 to 1000"
        )
    if device == "cuda" and processes > 1:
        raise ConfigError(f"processes is {processes}; on a GPU, only 1 is accepted")
    if not 1 <= calibration <= 100_000:
        raise ConfigError(
            f"calibration is {calibration}; accepted is an integer from 1 to 100000"
        )


def has_batch_norm(weights: Weights) -> bool:
    """Return whether an encoder 'stnas' has batch norms, given its model's weights."""
    return any(
        "network.layers." in name and name.endswith(".running_mean") for name in weights
    )


def _digest(weights: Weights) -> str:
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode())
        tensor = weights[name].detach().cpu().contiguous()
        found.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:12]
