"""One epoch of a search: architecture steps between ESPnet's weight steps."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Optional

import torch
from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from espnet2.torch_utils.device_funcs import to_device
from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import autocast_args

from espnet_stnas.errors import TrainingError
from espnet_stnas.estimators import Estimator, build_estimator
from espnet_stnas.ops.norm import synchronised_statistics
from espnet_stnas.search.cost import add_cost
from espnet_stnas.search.elastic import ElasticLoss, largest_gates
from espnet_stnas.search.iterators import Batch, SearchBatches
from espnet_stnas.search.joint import JointGradients
from espnet_stnas.search.ranks import (
    LearnerOverRanks,
    stop_together,
    union_over_ranks,
    weighted_loss,
)
from espnet_stnas.search.skips import nan_gradients
from espnet_stnas.search.state import SearchRun
from espnet_stnas.search.step_log import StepLog
from espnet_stnas.search.traffic import path_traffic
from espnet_stnas.supernet.steps import LogitLearner, Source, StepLosses
from espnet_stnas.supernet.supernet import Gates, path_generator
from espnet_stnas.supernet.undo import Kept


class Epoch:
    """Gives weight batches to ESPnet's training loop, and draws a path for each.

    Before each batch, it makes an architecture step and draws the path of the weight
    step (or it prepares a joint step). ESPnet's own ``train_one_epoch`` controls the
    rest: mixed precision, accumulation, clipping, logging. Use it as a context: inside,
    steps with a loss that is not finite are skipped, and steps are logged.

    Args:
        run: The search.
        model: The model of ESPnet's loop, possibly wrapped for several ranks.
        batches: The batches of this epoch.
        reporter: Receives the statistics of architecture steps.
        scaler: Loss scaler of mixed precision, or None.
    """

    def __init__(
        self,
        run: SearchRun,
        model: torch.nn.Module,
        batches: SearchBatches,
        reporter: SubReporter,
        scaler: Any,
    ) -> None:
        options = run.options
        self.run = run
        self.batches = batches
        self.reporter = reporter
        self.scaler = scaler
        self.number = reporter.get_epoch()
        self.estimator = _estimator(run, self.number)
        learner = LearnerOverRanks if run.distributed else LogitLearner
        self.learner = learner(
            run.model,
            self.estimator,
            run.optimizers[1],
            options.grad_clip,
            options.grad_clip_type,
        )
        learns = self.estimator.learns and not options.no_forward_run
        joint = options.arch_data == "joint"
        self.alternates = learns and not joint
        self.joint = JointGradients(self.learner) if learns and joint else None
        self.log = StepLog(run, reporter, batches) if run.rank == 0 else None
        if run.distributed and run.traffic is None:
            run.traffic = path_traffic(model, run.supernet)
        self.steps: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self._weight_updates = 0
        offsets = {id(t) for t in run.supernet.score_offsets}  # the learner's
        self._statistics = Kept(t for t in run.model.buffers() if id(t) not in offsets)
        self.elastic = ElasticLoss(run) if options.elastic else None
        self._alone: Optional[Gates] = None
        if run.warmup.is_reference(self.number):
            self._alone = largest_gates(run.supernet)
        self._utterances: Sequence[str] = ()
        self._stack = ExitStack()
        self._running: Optional[Generator[Batch, None, None]] = None

    def __enter__(self) -> Epoch:
        """Register hooks for the losses and the optimizer, and start the log."""
        run, enter = self.run, self._stack.enter_context
        if self.elastic is not None:
            enter(self.elastic.added())
        self._stack.callback(run.model.register_forward_hook(nan_gradients).remove)
        hook = run.optimizers[0].register_step_post_hook(self._after_weights)
        self._stack.callback(hook.remove)
        if run.distributed and not run.own_draws:
            enter(synchronised_statistics(run.model))
        if self.log is not None:
            enter(self.log)
        return self

    def __exit__(self, *_: Any) -> None:
        """Remove all hooks, also if the loop stopped half-way."""
        if self._running is not None:
            self._running.close()
        self._stack.close()

    def __len__(self) -> int:
        """Return the number of weight batches in the epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        """Alternate architecture steps and weight batches."""
        self._running = self._steps()
        return self._running

    def _steps(self) -> Generator[Batch, None, None]:
        run, options = self.run, self.run.options
        batches: Iterable[Batch] = self.batches
        if run.distributed:
            batches = stop_together(batches, run.device)
        others = self.batches.architecture_batches() if self.alternates else None
        unfinished = False
        for step, batch in enumerate(batches, start=1):
            self._utterances = batch[0]
            if others is not None:
                self.architecture_step(step, next(others), batch)
            if not unfinished:
                updates, unfinished = self._weight_updates, True
                self._statistics.save()
            gates = self._weight_gates(step)
            self._share_paths(gates if self.elastic is None else self.elastic.paths)
            with run.supernet.routed(gates):
                yield batch
            if options.no_forward_run:
                continue
            if step % options.accum_grad == 0:
                made, unfinished = self._weight_updates > updates, False
                if not made:
                    self._undo()
                self._count("weight", made, batch[0])
            if self.log is not None:
                self.log(step)
        if unfinished:
            self._undo()

    def _undo(self) -> None:
        """Undo a step that ended without an update; see :class:`Kept`."""
        self._statistics.restore()
        self.learner.undo()

    def architecture_step(self, step: int, batch: Batch, weight_batch: Batch) -> None:
        """Accumulate the architecture gradient of one batch; update when it is due.

        Args:
            step: Number of the step in the epoch, from 1.
            batch: Utterance ids and the data of the model.
            weight_batch: The batch of the next weight step.
        """
        start = time.perf_counter()
        accum_grad = self.run.options.accum_grad
        self.learner.loss_scale = self._loss_scale()
        loss = BatchLoss(self, batch)
        losses = StepLosses(
            self.learner,
            self._source(step, "architecture"),
            loss,
            BatchLoss(self, weight_batch),
            float(self.run.optimizers[0].param_groups[0]["lr"]),
        )
        self.learner.learn(losses, share=1.0 / accum_grad)
        self.reporter.register({"arch_loss": losses.value}, loss.weight)
        if step % accum_grad == 0:
            self.update_logits(batch[0])
        self.reporter.register({"arch_time": time.perf_counter() - start})

    def update_logits(self, utterances: Sequence[str]) -> None:
        """Update the logits by the accumulated gradients and the cost; report it.

        Args:
            utterances: Utterances of the last batch, for the message if steps are
                skipped.

        Raises:
            TrainingError: If too many updates in a row have been skipped.
        """
        run, learner = self.run, self.learner
        if run.own_draws:
            sizes = [len(p) for p in learner.logits]
            learner.touched = list(union_over_ranks(learner.touched, sizes, run.device))
        statistics = {} if run.cost is None else add_cost(learner, run.cost)
        statistics.update(learner.update())
        made = not statistics["arch_skipped"]
        if made and isinstance(run.schedulers[1], AbsBatchStepScheduler):
            run.schedulers[1].step()
        if not made:
            logging.warning(
                f"The norm of the architecture gradient is "
                f"{statistics['arch_grad_norm']}. Skipping this architecture step."
            )
        self._count("architecture", made, utterances)
        rate = run.optimizers[1].param_groups[0]["lr"]
        self.reporter.register({**statistics, "optim1_lr0": rate})

    def report_skips(self) -> None:
        """Log the number of skipped steps in the epoch, if any."""
        for kind, count in self.skipped.items():
            if count:
                logging.warning(
                    f"{count} of {self.steps[kind]} {kind} steps of epoch "
                    f"{self.number} were skipped, since their loss or gradient was not "
                    "finite"
                )

    def _weight_gates(self, step: int) -> Gates:
        if self._alone is not None:
            return self._alone
        if self.elastic is not None:
            self.elastic.draw(self.estimator, self._source(step, "weights")())
            return self.elastic.gates
        if self.joint is None:
            return self.run.supernet.weight_gates(
                self.estimator, self._source(step, "weights")()
            )
        if (step - 1) % self.run.options.accum_grad == 0:
            # ESPnet's loop may change the scale between backward and update.
            self.joint.begin(self._loss_scale())
        return self.joint.gates(self._source(step, "architecture")())

    def _after_weights(self, *_: Any) -> None:
        self._weight_updates += 1
        if self.joint is not None:
            self.joint.accumulate()
            self.update_logits(self._utterances)

    def _share_paths(self, gates: Gates) -> None:
        """Tell the communication hook which candidates any rank will train."""
        run = self.run
        if run.traffic is None:
            return
        paths = tuple(frozenset(gate.active) for gate in gates)
        if run.own_draws:
            sizes = [len(p) for p in self.learner.logits]
            paths = union_over_ranks(paths, sizes, run.device)
        run.traffic.paths = paths

    def _count(self, kind: str, made: bool, utterances: Sequence[str]) -> None:
        """Count a step; refuse to go on if as many as the limit were skipped."""
        row, limit = self.run.skipped_in_a_row, self.run.options.max_skipped_steps
        self.steps[kind] += 1
        self.skipped[kind] += not made
        row[kind] = 0 if made else row[kind] + 1
        if row[kind] >= limit:
            shown = ", ".join(utterances[:8])
            more = f" and {len(utterances) - 8} more" if len(utterances) > 8 else ""
            raise TrainingError(
                f"{row[kind]} {kind} steps in a row were skipped, since "
                "their loss or gradient was not finite; the last one had the "
                f"utterances {shown}{more}. Look at these, lower the learning rate or "
                "grad_clip, or switch use_amp off; --max_skipped_steps sets how many "
                "are accepted"
            )

    def _loss_scale(self) -> float:
        return 1.0 if self.scaler is None else float(self.scaler.get_scale())

    def _source(self, step: int, role: str) -> Source:
        run = self.run
        rank = run.rank if run.own_draws else 0
        return partial(path_generator, run.options.seed, self.number, step, role, rank)


class BatchLoss:
    """The loss of ESPnet's model on a batch, computed at each call.

    Args:
        epoch: The epoch with the model.
        batch: Utterance ids and the data of the model.
    """

    def __init__(self, epoch: Epoch, batch: Batch) -> None:
        self.epoch = epoch
        self.batch = batch
        self.weight: Optional[torch.Tensor] = None
        """Weight () of the last loss, of all ranks."""

    def __call__(self) -> torch.Tensor:
        """Run the model and return the loss ()."""
        run = self.epoch.run
        utterances, data = self.batch
        data = to_device({**data, "utt_id": utterances}, run.device)
        amp = self.epoch.scaler is not None
        with torch.autocast("cuda", enabled=amp, **autocast_args):
            result = run.model(**data)
        # ESPnet's models return either of two forms.
        if isinstance(result, dict):
            loss, self.weight = result["loss"].sum(), result["weight"]
        else:
            loss, self.weight = result[0].sum(), result[2]
        if run.distributed:
            share = loss.new_ones(()) if self.weight is None else self.weight.sum()
            loss, self.weight = weighted_loss(loss, share.to(loss.dtype))
        return loss


def _estimator(run: SearchRun, epoch: int) -> Estimator:
    if not run.is_searching(epoch):
        return build_estimator("uniform")
    estimator = build_estimator(run.options.estimator, run.options.estimator_conf)
    estimator.start_epoch(epoch - run.warmup.last)
    return estimator
