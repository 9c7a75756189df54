"""ESPnet's tasks with an architecture search."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.tasks.abs_task import AbsTask, optim_classes
from espnet2.tasks.asr import ASRTask
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.distributed_utils import DistributedOption

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import build_estimator
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.search.checks import building, check_scheduler
from espnet_stnas.search.cost import check_cost, check_cost_options
from espnet_stnas.search.iterators import SearchIterFactory
from espnet_stnas.search.split import write_split
from espnet_stnas.search.trainer import SearchTrainer
from espnet_stnas.supernet.supernet import find_supernet


class SearchTask(AbsTask):
    """A supernet encoder, two optimizers and two streams of batches.

    To be inherited from before a task of ESPnet, whose option ``encoder`` it needs.
    """

    num_optimizers = 2
    trainer = SearchTrainer

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
    def build_model(cls, args: argparse.Namespace) -> AbsESPnetModel:
        """Build the model, after checking everything about the search.

        Raises:
            ConfigError: If an option of the search cannot be honoured.
        """
        check_search(args)
        if not args.unused_parameters:
            # A weight step uses one candidate per choice; distributed training must
            # not wait for gradients of the others.
            logging.info("Setting unused_parameters to true, as a search needs")
            args.unused_parameters = True
        with building("the model of these options"):
            model = super().build_model(args)
        check_cost(find_supernet(model), args.cost_conf)
        return model

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """One optimizer for the weights, built by ESPnet, and one for the logits.

        Raises:
            ConfigError: If the optimizer of the logits is not known.
        """
        logits = find_supernet(model).logits
        if args.optim2 not in optim_classes:
            raise ConfigError(
                f"optim2 is '{args.optim2}'; accepted are: {', '.join(optim_classes)}"
            )
        others = _WithoutLogits(model, logits)
        with building(f"optim '{args.optim}' with its optim_conf"):
            # ESPnet's refuses to build the first of two.
            task: Any = cls.__mro__[cls.__mro__.index(SearchTask) + 1]
            optimizers = list(task.build_optimizers(args, model=others))
        with building(f"optim2 '{args.optim2}' with its optim2_conf"):
            optimizers.append(optim_classes[args.optim2](logits, **args.optim2_conf))
        for suffix in ("", "2"):
            check_scheduler(args, suffix)
        return optimizers

    @classmethod
    def build_iter_factory(
        cls,
        args: argparse.Namespace,
        distributed_option: DistributedOption,
        mode: str,
        kwargs: Optional[dict] = None,
    ) -> AbsIterFactory:
        """Build an iterator factory; that of training has two streams. See `AbsTask`.

        Raises:
            ConfigError: If no batches can be made of a part of the training set.
        """
        if mode != "train" or kwargs is not None:
            return super().build_iter_factory(args, distributed_option, mode, kwargs)
        streams = _streams(args)
        factories = {}
        for role, overrides in streams.items():
            logging.info(f"[{mode}] Building the batches of {role} steps")
            try:
                factories[role] = super().build_iter_factory(
                    args, distributed_option, mode, overrides
                )
            except RuntimeError as error:
                raise ConfigError(
                    f"no batches can be made for {role} steps from "
                    f"{', '.join(overrides.get('shape_files', args.train_shape_file))}:"
                    f" {error}"
                ) from error
        return SearchIterFactory(factories["weights"], factories.get("architecture"))


class SearchASRTask(SearchTask, ASRTask):
    """ASR with an architecture search."""


def check_search(args: argparse.Namespace) -> None:
    """Check the options of a search before anything is built.

    Raises:
        ConfigError: If one cannot be honoured.
    """
    if args.encoder != "stnas":
        raise ConfigError(
            f"encoder is '{args.encoder}'; a search needs the encoder 'stnas'"
        )
    space = SearchSpace.from_conf(args.encoder_conf or {})
    if space.is_architecture:
        raise ConfigError(
            "encoder_conf: layers holds no choice, so there is nothing to search; give "
            "a list of candidate operations for at least one layer"
        )
    estimator = build_estimator(args.estimator, args.estimator_conf)
    estimator.check([len(choice.candidates) for choice in space.choices])
    check_cost_options(args.cost_conf, estimator)
    if estimator.needs_weight_batch and args.arch_data == "joint":
        raise ConfigError(
            f"arch_data is 'joint', but estimator '{args.estimator}' with these "
            "options needs a batch of its own for architecture steps; accepted are: "
            "train, valid"
        )
    if args.warmup_epochs < 0:
        raise ConfigError(
            f"warmup_epochs is {args.warmup_epochs}; accepted is an integer of 0 or "
            "more"
        )
    if args.warmup_epochs >= args.max_epoch:
        logging.warning(
            f"warmup_epochs is {args.warmup_epochs} and max_epoch {args.max_epoch}: "
            "all epochs are warm-up, no architecture will be searched"
        )
    if args.train_dtype not in ("float32", "float64"):
        raise ConfigError(
            f"train_dtype is '{args.train_dtype}'; a search accepts float32 or "
            "float64, since architecture logits need the precision (use_amp works)"
        )
    if args.train_dtype == "float64" and (args.estimator_conf or {}).get("score_dtype"):
        raise ConfigError(
            f"estimator_conf: score_dtype is '{args.estimator_conf['score_dtype']}', "
            "but train_dtype is 'float64'; with score_dtype, only float32 is accepted"
        )
    for option in ("multiple_iterator", "sharded_ddp", "use_deepspeed", "use_adapter"):
        if getattr(args, option, False):
            raise ConfigError(
                f"{option} is true; a search accepts only false (train the derived "
                "architecture with it instead)"
            )
    if args.ddp_comm_hook is not None:
        raise ConfigError(
            f"ddp_comm_hook is '{args.ddp_comm_hook}'; a search accepts only none, "
            "since it has a hook of its own that sends gradients of sampled candidates"
        )
    if args.ngpu > 1 and not args.distributed:
        raise ConfigError(
            f"ngpu is {args.ngpu} without a process for each; a search on several GPUs "
            "accepts only multiprocessing_distributed: true, or a launcher such as "
            "torchrun"
        )
    if args.max_skipped_steps < 1:
        raise ConfigError(
            f"max_skipped_steps is {args.max_skipped_steps}; accepted is an integer "
            "above 0"
        )
    if not (args.collect_stats or args.dry_run):
        _check_output_dir(Path(args.output_dir), space)


def _check_output_dir(output_dir: Path, space: SearchSpace) -> None:
    """Refuse to go on with a search of another space."""
    # Not by config.yaml, which ESPnet may not have written to its end.
    experiment = SearchExperiment(output_dir, space)
    if not (output_dir / "checkpoint.pth").exists() or not experiment.epochs:
        return
    try:
        experiment.architecture()
    except ConfigError as error:
        raise ConfigError(
            f"{output_dir} holds a search of another space, choose another output_dir: "
            f"{error}"
        ) from None


def _streams(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What each stream changes in ESPnet's options of the training iterator."""
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


class _WithoutLogits(torch.nn.Module):
    """A model whose ``parameters()`` leave some out."""

    def __init__(
        self, model: torch.nn.Module, parameters: Sequence[torch.nn.Parameter]
    ) -> None:
        super().__init__()
        self.model = model
        self._left_out = {id(p) for p in parameters}

    def parameters(self, recurse: bool = True) -> Iterator[torch.nn.Parameter]:
        return (p for p in super().parameters(recurse) if id(p) not in self._left_out)
