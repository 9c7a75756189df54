"""ESPnet's trainer with architecture steps."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import closing, nullcontext
from typing import Any, Optional

import torch
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import Trainer
from espnet2.utils.build_dataclass import build_dataclass
from espnet2.utils.nested_dict_action import NestedDictAction

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import ESTIMATORS, Estimator, build_estimator
from espnet_stnas.host.checkpoints import whole_saves
from espnet_stnas.ops.norm import synchronised_statistics
from espnet_stnas.search.architecture_step import ArchitectureStep
from espnet_stnas.search.cost import cost_term
from espnet_stnas.search.guards import Guard
from espnet_stnas.search.iterators import Batch, SearchBatches
from espnet_stnas.search.joint_step import JointStep
from espnet_stnas.search.logit_update import LogitUpdate
from espnet_stnas.search.options import SearchTrainerOptions
from espnet_stnas.search.pictures import show_architecture
from espnet_stnas.search.ranks import refuse_divergence
from espnet_stnas.search.reports import (
    epoch_report,
    note_start,
    reporting,
    write_epoch,
    write_validation,
)
from espnet_stnas.search.schedulers import after_warmup
from espnet_stnas.search.skips import MAX_SKIPPED, Skips, Updates, poisoned_losses
from espnet_stnas.search.step_log import StepLog, step_log
from espnet_stnas.search.steps import SearchSteps
from espnet_stnas.search.traffic import path_traffic
from espnet_stnas.supernet.supernet import find_supernet


@dataclasses.dataclass
class _RunOptions(SearchTrainerOptions):
    """Options with what lives for a run."""

    guard: Guard


class SearchTrainer(Trainer):
    """Trains weights and architecture logits in turn.

    The first optimizer holds the weights, the second the logits. All of the training
    loop is ESPnet's: this class wraps the iterator of an epoch
    (:class:`~espnet_stnas.search.steps.SearchSteps`) and adds to the reports.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of the search."""
        group = parser.add_argument_group("Architecture search related")
        group.add_argument(
            "--warmup_epochs",
            type=int,
            default=10,
            help="Epochs at the start in which paths are drawn uniformly and only "
            "the weights learn",
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
        # The paper's optimizer of the logits.
        parser.set_defaults(optim2="adam", optim2_conf={"lr": 5.0e-3})

    @classmethod
    def build_options(cls, args: argparse.Namespace) -> SearchTrainerOptions:
        """Pick the trainer's options from all arguments."""
        return build_dataclass(SearchTrainerOptions, args)

    @classmethod
    def run(
        cls,
        *,
        schedulers: Sequence[Any],
        trainer_options: SearchTrainerOptions,
        **kwargs: Any,
    ) -> None:
        """Train; see ESPnet's Trainer."""
        weights, logits = schedulers
        delayed = after_warmup(logits, trainer_options.warmup_epochs)
        if kwargs["distributed_option"].dist_rank in (None, 0):
            note_start(trainer_options)
        space = find_supernet(kwargs["model"]).space
        guard = Guard(space, trainer_options)
        with whole_saves():
            super().run(
                schedulers=[weights, delayed],
                trainer_options=_RunOptions(**vars(trainer_options), guard=guard),
                **kwargs,
            )

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
        options: SearchTrainerOptions,
        distributed_option: DistributedOption,
    ) -> bool:
        """Train for an epoch; see ESPnet's Trainer.

        Returns:
            Whether all weight steps were invalid.
        """
        for optimizer in optimizers:
            # What is left of an accumulation is not saved with a checkpoint either;
            # dropping it keeps resumed and uninterrupted searches the same.
            optimizer.zero_grad()
        plain = _plain(model)
        log = None
        if distributed_option.dist_rank in (None, 0):
            log = step_log(find_supernet(plain), iterator, reporter, options)
        steps = cls._build_steps(
            model,
            iterator,
            log=log,
            reporter=reporter,
            options=options,
            distributed_option=distributed_option,
            optimizers=optimizers,
            scheduler=schedulers[1],
            scaler=scaler,
        )
        same_paths = options.path_draws == "same" and distributed_option.distributed
        synchronised = synchronised_statistics(plain) if same_paths else nullcontext()
        following = nullcontext() if log is None else log
        with poisoned_losses(plain), synchronised, following, closing(steps):
            invalid = super().train_one_epoch(
                model=model,
                iterator=steps,
                optimizers=optimizers[:1],
                schedulers=schedulers[:1],
                scaler=scaler,
                reporter=reporter,
                summary_writer=summary_writer,
                options=options,
                distributed_option=distributed_option,
            )
        steps.report_skips()
        if log is not None:
            log.finish()
            show_architecture(find_supernet(plain), summary_writer, options, reporter)
        return invalid

    @classmethod
    def _build_steps(
        cls,
        model: torch.nn.Module,
        batches: SearchBatches,
        *,
        log: Optional[StepLog],
        reporter: SubReporter,
        options: SearchTrainerOptions,
        distributed_option: DistributedOption,
        optimizers: Sequence[torch.optim.Optimizer],
        scheduler: Any,
        scaler: Any,
    ) -> SearchSteps:
        supernet = find_supernet(model)
        estimator = _estimator(reporter, options)
        joint, alternating = None, None
        distributed = distributed_option.distributed
        device = "cuda" if options.ngpu > 0 else "cpu"
        own_draws = distributed and options.path_draws == "per_rank"
        update = LogitUpdate(
            supernet,
            estimator,
            optimizer=optimizers[1],
            scheduler=scheduler,
            options=options,
            skips=Skips("architecture", optimizers[1], options.max_skipped_steps),
            draws_differ_on=device if own_draws else None,
            cost=cost_term(supernet, options.cost_conf),
        )
        common: dict[str, Any] = dict(
            weight_optimizer=optimizers[0], scaler=scaler, distributed=distributed
        )
        if estimator.learns and options.arch_data == "joint":
            joint = JointStep(update, reporter=reporter, **common)
        elif estimator.learns:
            alternating = ArchitectureStep(
                _plain(model), update, options=options, **common
            )
        return SearchSteps(
            batches,
            supernet,
            estimator=estimator,
            architecture_step=alternating,
            joint_step=joint,
            reporter=reporter,
            seed=options.seed,
            accum_grad=options.accum_grad,
            no_forward_run=options.no_forward_run,
            updates=Updates(optimizers[0]),
            skips=Skips("weight", optimizers[0], options.max_skipped_steps),
            device=device if distributed else None,
            log=log,
            traffic=path_traffic(model, supernet) if distributed else None,
            rank=distributed_option.dist_rank if own_draws else None,
        )

    @classmethod
    def validate_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator: Iterable[Batch],
        reporter: SubReporter,
        options: _RunOptions,
        distributed_option: DistributedOption,
    ) -> None:
        """Validate the arg-max architecture, report pi, write the architecture.

        See ESPnet's Trainer for the arguments.

        Raises:
            ConfigError: If a batch holds nothing but empty transcripts.
        """
        supernet = find_supernet(model)
        cost = cost_term(supernet, options.cost_conf)
        try:
            super().validate_one_epoch(
                model=model,
                iterator=reporting(iterator, reporter, epoch_report(supernet, cost)),
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
        if distributed_option.distributed:
            device = "cuda" if options.ngpu > 0 else "cpu"
            refuse_divergence(_plain(model), reporter.get_epoch(), device)
        if distributed_option.dist_rank in (None, 0):
            write_validation(supernet, cost, reporter, options)
            write_epoch(
                supernet,
                cost,
                epoch=reporter.get_epoch(),
                seed=options.seed,
                searching=_is_searching(reporter, options),
                output_dir=options.output_dir,
            )
            options.guard.warn(reporter.get_epoch())


def _plain(model: torch.nn.Module) -> torch.nn.Module:
    """The model itself, where it is wrapped for parallel training."""
    return getattr(model, "module", model)


def _is_searching(reporter: SubReporter, options: SearchTrainerOptions) -> bool:
    return reporter.get_epoch() > options.warmup_epochs


def _estimator(reporter: SubReporter, options: SearchTrainerOptions) -> Estimator:
    if not _is_searching(reporter, options):
        return build_estimator("uniform")
    estimator = build_estimator(options.estimator, options.estimator_conf)
    estimator.start_epoch(reporter.get_epoch() - options.warmup_epochs)
    return estimator
