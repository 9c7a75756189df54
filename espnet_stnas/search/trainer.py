"""ESPnet's trainer with architecture steps."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import Trainer
from espnet2.utils.build_dataclass import build_dataclass
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import ESTIMATORS
from espnet_stnas.host.checkpoints import whole_saves
from espnet_stnas.search.elastic import largest_gates
from espnet_stnas.search.epoch import Epoch
from espnet_stnas.search.failure import (
    noting_failure,
    refuse_invalid,
    refuse_unmoved,
)
from espnet_stnas.search.health import KeptBatches, measure, sample_size
from espnet_stnas.search.iterators import Batch, SearchBatches
from espnet_stnas.search.options import SearchTrainerOptions
from espnet_stnas.search.pictures import draw_probabilities, show_architecture
from espnet_stnas.search.ranks import refuse_divergence
from espnet_stnas.search.reference import keep_first_weights
from espnet_stnas.search.reports import epoch_report, reporting, write_epoch
from espnet_stnas.search.skips import MAX_SKIPPED
from espnet_stnas.search.state import RunOptions, SearchRun
from espnet_stnas.search.time_left import one_estimate
from espnet_stnas.search.warmup import warmup_epochs


class SearchTrainer(Trainer):
    """Trains weights and architecture logits alternately.

    The first optimizer updates the weights, the second one the logits. The training
    loop is ESPnet's: this class wraps the iterator of an epoch
    (:class:`~espnet_stnas.search.epoch.Epoch`) and adds values to the reports.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of the search."""
        group = parser.add_argument_group("Architecture search related")
        group.add_argument(
            "--warmup_epochs",
            type=warmup_epochs,
            default=10,
            help="Epochs at the start in which paths are drawn uniformly and only "
            "the weights learn; auto: until paths do as well as the largest "
            "architecture does after training alone for a tenth of the epochs",
        )
        group.add_argument(
            "--estimator",
            default="st",
            choices=tuple(ESTIMATORS),
            help="How architecture gradients are estimated",
        )
        group.add_argument(
            "--estimator_conf",
            action=NestedDictAction,
            default={},
            help="The keyword arguments for the estimator",
        )
        group.add_argument(
            "--cost_conf",
            action=NestedDictAction,
            default={},
            help="The cost of architectures in the loss of the logits: kind (params, "
            "macs or latency), weight, target and others, see docs/cost.md",
        )
        group.add_argument(
            "--path_draws",
            default="same",
            choices=("same", "per_rank"),
            help="With several processes: whether all draw the same paths in a step, "
            "so that the search is that of one process, or each its own, which "
            "lowers the variance and sends more gradients",
        )
        group.add_argument(
            "--max_skipped_steps",
            type=int,
            default=MAX_SKIPPED,
            help="Stop when so many weight or architecture steps in a row are skipped, "
            "since their loss or gradient is not finite",
        )
        group.add_argument(
            "--elastic",
            type=str2bool,
            default=False,
            help="Train the architectures of the space so that stnas extract can use "
            "them without another training: each step trains the largest, the "
            "smallest and a drawn one, on the same batch; needs --estimator uniform",
        )
        group.add_argument(
            "--distill_weight",
            type=float,
            default=0.0,
            help="With --elastic: the part of the smaller architectures' loss that is "
            "the divergence of their CTC outputs from that of the largest; the rest "
            "is ESPnet's loss",
        )
        # The paper's optimizer of the logits.
        parser.set_defaults(optim2="adam", optim2_conf={"lr": 5.0e-3})

    @classmethod
    def build_options(cls, args: argparse.Namespace) -> SearchTrainerOptions:
        """Collect the trainer's options from all arguments."""
        return build_dataclass(SearchTrainerOptions, args)

    @classmethod
    def run(
        cls,
        *,
        model: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        schedulers: Sequence[Any],
        trainer_options: SearchTrainerOptions,
        distributed_option: DistributedOption,
        **kwargs: Any,
    ) -> None:
        """Train; see ESPnet's Trainer.

        Raises:
            TrainingError: If the search fails; ``failed.yaml`` then has the reason.
        """
        run = SearchRun(
            trainer_options, model, optimizers, schedulers, distributed_option
        )
        # ESPnet would draw a figure for each candidate after each epoch.
        changed = {**vars(trainer_options), "use_matplotlib": False}
        with noting_failure(run):
            with whole_saves(), one_estimate():
                keep_first_weights(run)
                super().run(
                    model=model,
                    optimizers=optimizers,
                    schedulers=run.schedulers,
                    trainer_options=RunOptions(**changed, run=run),
                    distributed_option=distributed_option,
                    **kwargs,
                )
            refuse_unmoved(run)

    @classmethod
    def train_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator: SearchBatches,
        optimizers: Sequence[torch.optim.Optimizer],
        schedulers: Sequence[Any],
        scaler: Any,
        reporter: SubReporter,
        summary_writer: Any,
        options: RunOptions,
        distributed_option: DistributedOption,
    ) -> bool:
        """Train for an epoch; see ESPnet's Trainer.

        Returns:
            Whether all weight steps were invalid: never, since that is an error.

        Raises:
            TrainingError: If all were, or too many in a row.
        """
        for optimizer in optimizers:
            # A checkpoint has no unfinished accumulation. Dropping it keeps resumed and
            # uninterrupted searches equal.
            optimizer.zero_grad()
        options.run.epoch = reporter.get_epoch()
        with Epoch(options.run, model, iterator, reporter, scaler) as epoch:
            invalid = super().train_one_epoch(
                model=model,
                iterator=epoch,
                optimizers=optimizers[:1],
                schedulers=schedulers[:1],
                scaler=scaler,
                reporter=reporter,
                summary_writer=summary_writer,
                options=options,
                distributed_option=distributed_option,
            )
        epoch.report_skips()
        options.run.steps.update(epoch.steps)
        options.run.skipped.update(epoch.skipped)
        refuse_invalid(epoch, invalid)
        if epoch.log is not None:
            epoch.log.finish()
            show_architecture(options.run, summary_writer, reporter)
        return invalid

    @classmethod
    def validate_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator: Iterable[Batch],
        reporter: SubReporter,
        options: RunOptions,
        distributed_option: DistributedOption,
    ) -> None:
        """Validate the arg-max architecture (of elastic searches, the largest).

        Write the arg max and report pi. See ESPnet's Trainer for the arguments.

        Raises:
            ConfigError: If all transcripts of a batch are empty.
        """
        run = options.run
        paths, utterances = sample_size(run, reporter.get_epoch())
        batches = KeptBatches(iterator, utterances)
        try:
            with ExitStack() as stack:
                if run.options.elastic:
                    gates = largest_gates(run.supernet)
                    stack.enter_context(run.supernet.routed(gates))
                super().validate_one_epoch(
                    model=model,
                    iterator=reporting(batches, reporter, epoch_report(run)),
                    reporter=reporter,
                    options=options,
                    distributed_option=distributed_option,
                )
        except ZeroDivisionError as error:
            # ESPnet divides by the characters of a batch when it counts errors.
            raise ConfigError(
                "a batch of the validation set has only empty transcripts, in which no "
                "errors can be counted; accepted are batches with some text"
            ) from error
        if run.distributed:
            refuse_divergence(run.model, reporter.get_epoch(), run.device)
        if not options.no_forward_run:
            measure(run, reporter.get_epoch(), batches.kept, paths)
        if run.rank == 0:
            write_epoch(run, reporter)
            run.guard.warn(reporter.get_epoch())
            if run.options.use_matplotlib:
                draw_probabilities(run)
        run.validated_at = time.perf_counter()
