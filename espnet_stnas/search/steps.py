"""The alternation of architecture and weight steps within an epoch."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Optional

import torch
from espnet2.train.reporter import SubReporter

from espnet_stnas.estimators import Estimator
from espnet_stnas.search.architecture_step import ArchitectureStep
from espnet_stnas.search.iterators import Batch, SearchBatches
from espnet_stnas.search.joint_step import JointStep
from espnet_stnas.search.randomness import path_generator
from espnet_stnas.search.ranks import stop_together, union_over_ranks
from espnet_stnas.search.skips import Skips, Updates
from espnet_stnas.search.step_log import StepLog
from espnet_stnas.search.traffic import PathTraffic
from espnet_stnas.supernet.supernet import Gates, Supernet


class SearchSteps:
    """Hands weight batches to ESPnet's training loop, one path drawn for each.

    Before it hands out a batch, it performs an architecture step and draws the path
    of the weight step, or makes that a joint step. So ESPnet's own
    ``train_one_epoch`` stays in charge of all else: mixed precision, accumulation,
    clipping, logging.

    Args:
        batches: The batches of this epoch.
        supernet: The supernet.
        estimator: Draws the gates.
        architecture_step: Performs an architecture step; None in warm-up.
        joint_step: Makes weight steps joint steps; None in warm-up.
        reporter: Gets the statistics of architecture steps.
        seed: Seed of the search.
        accum_grad: Batches per update, of weights and of logits.
        no_forward_run: Hand out batches only, compute nothing.
        updates: Counts the updates of the weights.
        skips: Counts those that are skipped.
        device: Where to agree with other ranks, or None if there are none.
        log: Follows the steps, if they are to be followed.
        traffic: Is told which gradients are to be sent to other ranks.
        rank: Whose paths to draw, if each rank draws its own; None if all draw alike.
    """

    def __init__(
        self,
        batches: SearchBatches,
        supernet: Supernet,
        *,
        estimator: Estimator,
        architecture_step: Optional[ArchitectureStep] = None,
        joint_step: Optional[JointStep] = None,
        reporter: SubReporter,
        seed: int,
        accum_grad: int,
        no_forward_run: bool,
        updates: Updates,
        skips: Skips,
        device: Optional[str] = None,
        log: Optional[StepLog] = None,
        traffic: Optional[PathTraffic] = None,
        rank: Optional[int] = None,
    ) -> None:
        self.batches = batches
        self.supernet = supernet
        self.estimator = estimator
        self.architecture_step = None if no_forward_run else architecture_step
        self.joint_step = None if no_forward_run else joint_step
        self.reporter = reporter
        self.seed = seed
        self.accum_grad = accum_grad
        self.no_forward_run = no_forward_run
        self.updates = updates
        self.skips = skips
        self.device = device
        self.log = log
        self.traffic = traffic
        self.rank = rank
        self._running: Optional[Generator[Batch, None, None]] = None

    def __len__(self) -> int:
        """Weight batches of the epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        """Alternate architecture steps and weight batches."""
        self._running = self._steps()
        return self._running

    def close(self) -> None:
        """Leave the supernet as it was, also if the loop stopped half-way."""
        if self._running is not None:
            self._running.close()

    def report_skips(self) -> None:
        """Log how many steps of the epoch were skipped, if any."""
        self.skips.report(self.batches.epoch)
        for step in (self.architecture_step, self.joint_step):
            if step is not None:
                step.update.skips.report(self.batches.epoch)

    def _steps(self) -> Generator[Batch, None, None]:
        batches: Iterable[Batch] = self.batches
        if self.device is not None:
            batches = stop_together(batches, self.device)
        joint = nullcontext() if self.joint_step is None else self.joint_step.active()
        with joint, self.updates.counted():
            if self.architecture_step is not None:
                batches = self._after_architecture_steps(batches)
            for step, batch in enumerate(batches, start=1):
                made = self.updates.made
                gates = self._gates(step, batch)
                self._announce(gates)
                with self.supernet.routed(gates):
                    yield batch
                if self.no_forward_run:
                    continue
                if step % self.accum_grad == 0:
                    self.skips.count(self.updates.made > made, batch[0])
                if self.log is not None:
                    self.log(step)

    def _announce(self, gates: Gates) -> None:
        """Say which candidates any rank will train."""
        if self.traffic is None:
            return
        paths = tuple(frozenset(gate.active) for gate in gates)
        if self.rank is not None and self.device is not None:
            sizes = [len(p) for p in self.supernet.logits]
            paths = union_over_ranks(paths, sizes, self.device)
        self.traffic.paths = paths

    def _after_architecture_steps(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        assert self.architecture_step is not None
        others = self.batches.architecture_batches()
        for step, batch in enumerate(batches, start=1):
            self.architecture_step(
                next(others),
                batch,
                partial(self._generator, step, "architecture"),
                self.reporter,
                update=step % self.accum_grad == 0,
            )
            yield batch

    def _gates(self, step: int, batch: Batch) -> Gates:
        if self.joint_step is None:
            return self.supernet.weight_gates(
                self.estimator, self._generator(step, "weights")
            )
        return self.joint_step.gates(
            self._generator(step, "architecture"),
            first=(step - 1) % self.accum_grad == 0,
            utterances=batch[0],
        )

    def _generator(self, step: int, role: str) -> torch.Generator:
        return path_generator(
            self.seed, self.batches.epoch, step, role, rank=self.rank or 0
        )
