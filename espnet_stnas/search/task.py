"""ESPnet's tasks with an architecture search."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Optional

import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.tasks.abs_task import AbsTask, optim_classes
from espnet2.tasks.asr import ASRTask
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.distributed_utils import DistributedOption
from espnet2.utils.build_dataclass import build_dataclass

from espnet_stnas.cost.counts import parameter_table
from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.host.data import name_data_errors
from espnet_stnas.host.start import check_statistics, model_frame_size, resolved
from espnet_stnas.notation.zeros import refuse_zero_candidates
from espnet_stnas.results.health import Health
from espnet_stnas.search.checks import building, check_scheduler
from espnet_stnas.search.cost import check_cost, input_size
from espnet_stnas.search.elastic import check_elastic
from espnet_stnas.search.iterators import SearchIterFactory
from espnet_stnas.search.option_checks import check_search
from espnet_stnas.search.option_values import settle_options
from espnet_stnas.search.ranks import connected, of_workers
from espnet_stnas.search.resume import check_resume, resumes, trains
from espnet_stnas.search.split import write_split
from espnet_stnas.search.start import (
    Started,
    begin,
    check_epochs,
    check_place,
    check_unchanged,
    check_weights,
    started,
    take_directory,
)
from espnet_stnas.search.trainer import SearchTrainer
from espnet_stnas.search.warmup import Warmup
from espnet_stnas.supernet.supernet import find_supernet


class SearchTask(AbsTask):
    """Adds a supernet encoder, two optimizers and two streams of batches to a task.

    Use this as the first base class, in front of an ESPnet task that has the option
    ``encoder``.
    """

    num_optimizers = 2
    trainer = SearchTrainer
    task_name: str

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of the architecture split."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Architecture split related")
        group.add_argument(
            "--arch_data",
            default="train",
            choices=("train", "valid", "joint"),
            help="Where architecture steps get their batches: from a part of the "
            "training set that is set aside, or from the validation set. joint: there "
            "are none; each weight step also updates the logits, on the same batch",
        )
        group.add_argument(
            "--arch_fraction",
            type=float,
            default=0.1,
            help="Fraction of the training set that is set aside, if --arch_data train",
        )

    @classmethod
    def main(
        cls,
        args: Optional[argparse.Namespace] = None,
        cmd: Optional[Sequence[str]] = None,
    ) -> None:
        """Check all options of the search, then train. See `AbsTask`.

        Raises:
            ConfigError: If an option of the search cannot be honoured.
            TrainingError: If the search fails, or one of its processes is lost.
        """
        if args is None:
            args = cls.get_parser().parse_args(cmd)
        if not args.print_config:
            problems = settle_options(cls.get_parser(), args)
            cls.check_required_command_args(args)
            check_search(resolved(args), problems)
        with of_workers():
            super().main(args=args)

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Train in this process, which holds the output directory. See `AbsTask`.

        Raises:
            TrainingError: If the search fails, or another of its processes is lost.
        """
        with ExitStack() as stack:
            if multiprocessing.parent_process() is not None:
                stack.enter_context(plain_errors())  # main of the parent is elsewhere
            stack.enter_context(connected())
            super().main_worker(stack.enter_context(started(args)))

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> AbsESPnetModel:
        """Build the model. ESPnet has written nothing at this point.

        Raises:
            ConfigError: If it cannot be built, or its statistics belong to other
                features.
        """
        if isinstance(args, Started):
            take_directory(args)
            check_search(args)
        args.task = cls.task_name  # for config.yaml, which derive reads
        warmup = Warmup(args.warmup_epochs, args.max_epoch, Health())
        if warmup.last >= args.max_epoch and not args.elastic:
            logging.warning(
                f"warmup_epochs is {args.warmup_epochs} and max_epoch "
                f"{args.max_epoch}: all epochs are warm-up, no architecture will be "
                "searched"
            )
        if not args.unused_parameters:
            # A weight step uses one candidate per choice, so distributed training must
            # not wait for gradients of the others.
            logging.info("Setting unused_parameters to true, as a search needs")
            args.unused_parameters = True
        with building("the model of these options"):
            model = super().build_model(args)
        check_statistics(args, model_frame_size(model, args))
        if args.elastic:
            check_elastic(model, args.distill_weight)
        supernet = find_supernet(model)
        refuse_zero_candidates(supernet.space, input_size(supernet))
        check_cost(supernet, args.cost_conf)
        logging.info(describe_sizes(model))
        return model

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """Build ESPnet's optimizer for the weights and another one for the logits.

        Raises:
            ConfigError: If the optimizer of the logits is not known, or the search
                cannot begin or go on with these options. ESPnet has written nothing.
        """
        logits = find_supernet(model).logits
        if args.optim2 not in optim_classes:
            raise ConfigError(
                f"optim2 is '{args.optim2}'; accepted are: {', '.join(optim_classes)}"
            )
        others = _WithoutLogits(model, logits)
        with building(f"optim '{args.optim}' with its optim_conf"):
            # ESPnet's method refuses to build the first of two optimizers.
            task: Any = cls.__mro__[cls.__mro__.index(SearchTask) + 1]
            optimizers = list(task.build_optimizers(args, model=others))
        with building(f"optim2 '{args.optim2}' with its optim2_conf"):
            optimizers.append(optim_classes[args.optim2](logits, **args.optim2_conf))
        schedulers = [check_scheduler(args, suffix) for suffix in ("", "2")]
        if isinstance(args, Started) and trains(args):
            check_weights(args, model)
            done = 0
            if resumes(args):
                done = check_resume(args, model, optimizers, schedulers)
                check_unchanged(args)
                check_epochs(args, done)
            cls._try_batches(args)
            check_place(args, model)
            begin(args, done)
        return optimizers

    @classmethod
    def _try_batches(cls, args: argparse.Namespace) -> None:
        """Build the batches once, without writing the split.

        Raises:
            ConfigError: If no batches can be built.
        """
        option = build_dataclass(DistributedOption, args)
        option.init_options()
        with tempfile.TemporaryDirectory() as folder:
            elsewhere = argparse.Namespace(**{**vars(args), "output_dir": folder})
            for mode in ("train", "valid"):
                with building(f"the batches of mode '{mode}'"):
                    cls.build_iter_factory(elsewhere, option, mode)

    @classmethod
    def build_iter_factory(
        cls,
        args: argparse.Namespace,
        distributed_option: DistributedOption,
        mode: str,
        kwargs: Optional[dict] = None,
    ) -> AbsIterFactory:
        """Build an iterator factory; for training, it has two streams. See `AbsTask`.

        Raises:
            ConfigError: If a part of the training set gives no batches.
        """
        if mode != "train" or kwargs is not None:
            others = super().build_iter_factory(args, distributed_option, mode, kwargs)
            name_data_errors(others)
            return others
        streams = _streams(args)
        factories = {}
        for role, overrides in streams.items():
            logging.info(f"[{mode}] Building the batches of {role} steps")
            try:
                factories[role] = super().build_iter_factory(
                    args, distributed_option, mode, overrides
                )
            except RuntimeError as error:
                files = args.train_shape_file
                if (role, args.arch_data) == ("architecture", "valid"):
                    files = args.valid_shape_file
                raise ConfigError(
                    f"no batches can be made for {role} steps from "
                    f"{', '.join(map(str, files))}: {error}"
                ) from error
            name_data_errors(factories[role])
        return SearchIterFactory(factories["weights"], factories.get("architecture"))


class SearchASRTask(SearchTask, ASRTask):
    """ASR with an architecture search."""

    task_name = "asr"


def _streams(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return each stream's changes to ESPnet's options of the training iterator."""
    if args.arch_data == "joint":
        return {"weights": {}}
    if args.arch_data == "valid":
        return {
            "weights": {},
            "architecture": {
                "data_path_and_name_and_type": args.valid_data_path_and_name_and_type,
                "shape_files": args.valid_shape_file,
                "num_iters_per_epoch": None,
            },
        }
    parts = write_split(
        args.train_shape_file,
        Path(args.output_dir),
        fraction=args.arch_fraction,
        seed=args.seed,
    )
    return {
        "weights": {"shape_files": parts["weights"]},
        "architecture": {
            "shape_files": parts["architecture"],
            "num_iters_per_epoch": None,
        },
    }


def describe_sizes(model: torch.nn.Module) -> str:
    """Describe the number of parameters of a search: encoder and whole model.

    Args:
        model: A model with a supernet.
    """
    supernet = find_supernet(model)
    encoder, whole = (sum(p.numel() for p in m.parameters()) for m in (supernet, model))
    table = parameter_table(supernet.space, input_size(supernet))
    low, high = int(table.minimum), int(table.maximum)
    rest = whole - encoder
    return (
        f"Parameters: architectures of this space have {low:,} to {high:,} in the "
        f"encoder ({low + rest:,} to {high + rest:,} in the whole model); all "
        f"candidates together have {encoder:,} ({whole:,})"
    )


class _WithoutLogits(torch.nn.Module):
    """A model whose ``parameters()`` omit the logits."""

    def __init__(
        self, model: torch.nn.Module, parameters: Sequence[torch.nn.Parameter]
    ) -> None:
        super().__init__()
        self.model = model
        self._left_out = {id(p) for p in parameters}

    def parameters(self, recurse: bool = True) -> Iterator[torch.nn.Parameter]:
        return (p for p in super().parameters(recurse) if id(p) not in self._left_out)
