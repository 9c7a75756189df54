"""Refuses options of a search that cannot be honoured; one function per check."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from espnet2.schedulers.abs_scheduler import AbsValEpochStepScheduler
from espnet2.tasks.abs_task import scheduler_classes

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import Estimator, build_estimator
from espnet_stnas.host.checkpoints import CHECKPOINT
from espnet_stnas.host.schedule import WarmupLinearLR
from espnet_stnas.host.start import check_ngpu
from espnet_stnas.messages import quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.search.checks import building
from espnet_stnas.search.cost import check_cost_options
from espnet_stnas.search.resume import resumes, trains
from espnet_stnas.search.split import plan_split
from espnet_stnas.search.warmup import AUTO


def check_search(args: argparse.Namespace, found: Sequence[str] = ()) -> None:
    """Check the options of a search before anything is built or written.

    Args:
        args: All options, with ``distributed`` as ESPnet resolves it.
        found: Sentences about other options that cannot be honoured.

    Raises:
        ConfigError: If some of them cannot be honoured; the message lists all problems,
            unless there is nothing to search.
    """
    _space(args)
    problems = list(found)
    for option in sorted(_CHECKS):
        try:
            _CHECKS[option](args)
        except ConfigError as error:
            problems.append(str(error))
    problems = list(dict.fromkeys(problems))
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        listed = "; ".join(f"({n}) {text}" for n, text in enumerate(problems, start=1))
        raise ConfigError(f"{len(problems)} options cannot be honoured: {listed}")


def _space(args: argparse.Namespace) -> SearchSpace:
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
    return space


def _estimator(args: argparse.Namespace) -> Estimator:
    with building(f"estimator '{args.estimator}' with its estimator_conf"):
        estimator = build_estimator(args.estimator, args.estimator_conf)
    estimator.check([len(choice.candidates) for choice in _space(args).choices])
    return estimator


def _cost_conf(args: argparse.Namespace) -> None:
    check_cost_options(args.cost_conf, _estimator(args))


def _arch_data(args: argparse.Namespace) -> None:
    if args.arch_data == "joint" and _estimator(args).needs_weight_batch:
        raise ConfigError(
            f"arch_data is 'joint', but estimator '{args.estimator}' with these "
            "options needs a batch of its own for architecture steps; accepted are: "
            "train, valid"
        )


def _arch_fraction(args: argparse.Namespace) -> None:
    if args.arch_data == "train" and trains(args):
        plan_split(
            args.train_shape_file,
            Path(args.output_dir),
            fraction=args.arch_fraction,
            seed=args.seed,
        )


def _train_dtype(args: argparse.Namespace) -> None:
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


def _only_false(option: str) -> Callable[[argparse.Namespace], None]:
    def check(args: argparse.Namespace) -> None:
        if getattr(args, option, False):
            raise ConfigError(
                f"{option} is true; a search accepts only false (train the derived "
                "architecture with it instead)"
            )

    return check


def _ddp_comm_hook(args: argparse.Namespace) -> None:
    if args.ddp_comm_hook is not None:
        raise ConfigError(
            f"ddp_comm_hook is '{args.ddp_comm_hook}'; a search accepts only none, "
            "since it has a hook of its own that sends gradients of sampled candidates"
        )


def _ngpu(args: argparse.Namespace) -> None:
    check_ngpu(args)
    if args.ngpu > 1 and not args.distributed:
        raise ConfigError(
            f"ngpu is {args.ngpu} without a process for each; a search on several GPUs "
            "accepts only multiprocessing_distributed: true, or a launcher such as "
            "torchrun"
        )


def _fold_length(args: argparse.Namespace) -> None:
    for part in ("train", "valid"):
        kind = args.batch_type
        kind = getattr(args, f"{part}_batch_type", None) or kind
        files = getattr(args, f"{part}_shape_file")
        if kind == "folded" and files and len(args.fold_length) != len(files):
            raise ConfigError(
                f"fold_length has {len(args.fold_length)} lengths and "
                f"{part}_shape_file {len(files)} files; accepted with batch_type "
                "'folded' (the default) is a length for each, or another batch_type "
                "such as numel or unsorted"
            )


def _frontend(args: argparse.Namespace) -> None:
    # Tasks without input_size always need their frontend.
    if getattr(args, "input_size", 0) is None and args.frontend is None:
        raise ConfigError(
            "frontend is null and so is input_size; accepted is a frontend, or the "
            "size of the features that the data have in input_size"
        )


def _init_param(args: argparse.Namespace) -> None:
    for text in args.init_param:
        # ESPnet's form: <file>:<key of the file>:<key of the model>:<keys left out>
        file = str(text).split(":")[0]
        if not Path(file).is_file():
            raise ConfigError(
                f"init_param is {quote(text)}, and there is no file {file}; accepted "
                "is a file of weights"
            )


def _pretrain_path(args: argparse.Namespace) -> None:
    if args.pretrain_path is not None:
        raise ConfigError(
            f"pretrain_path is {quote(args.pretrain_path)}; accepted is null: ESPnet "
            "has init_param instead"
        )


def _output_dir(args: argparse.Namespace) -> None:
    """Refuse to harm a training, and to continue a search of another space."""
    # Do not use config.yaml: ESPnet may not have finished writing it.
    output_dir = Path(args.output_dir)
    experiment = SearchExperiment(output_dir, _space(args))
    used = (output_dir / CHECKPOINT).exists()
    if used and not experiment.epochs:
        raise ConfigError(
            f"{output_dir} has the checkpoint of a training that is no search; choose "
            "another output_dir"
        )
    if not trains(args):
        if used or experiment.epochs:
            raise ConfigError(
                f"{output_dir} holds a search, whose config.yaml collect_stats and "
                "dry_run would overwrite; choose another output_dir"
            )
        return
    if not resumes(args):
        return
    try:
        experiment.architecture()
    except ConfigError as error:
        raise ConfigError(
            f"{output_dir} holds a search of another space, choose another output_dir: "
            f"{error}"
        ) from None


def _elastic(args: argparse.Namespace) -> None:
    if not args.elastic:
        return
    if args.estimator != "uniform":
        raise ConfigError(
            f"elastic is true and estimator '{args.estimator}', which trains the "
            "logits to prefer some architectures; accepted with elastic is 'uniform', "
            "which trains all of them"
        )
    if args.warmup_epochs == AUTO:
        raise ConfigError(
            "elastic is true and warmup_epochs 'auto'; accepted with elastic is a "
            "number, which changes nothing, since no logits learn"
        )


def _warmup_epochs(args: argparse.Namespace) -> None:
    if args.warmup_epochs != AUTO:
        return
    if args.patience is not None:
        raise ConfigError(
            f"patience is {args.patience} and warmup_epochs 'auto': all weights begin "
            "anew after some epochs, which early stopping would take for a failure; "
            "accepted is a number of warmup_epochs, or no patience"
        )
    kind = scheduler_classes.get(args.scheduler)
    looks = kind is not None and issubclass(kind, AbsValEpochStepScheduler)
    if looks and not issubclass(kind, WarmupLinearLR):
        raise ConfigError(
            f"scheduler is '{args.scheduler}' and warmup_epochs 'auto': all weights "
            "begin anew after some epochs, which that scheduler would take for a "
            "failure; accepted is a number of warmup_epochs, or a scheduler that does "
            "not depend on validation"
        )


_CHECKS: dict[str, Callable[[argparse.Namespace], object]] = {
    "arch_data": _arch_data,
    "arch_fraction": _arch_fraction,
    "cost_conf": _cost_conf,
    "ddp_comm_hook": _ddp_comm_hook,
    "elastic": _elastic,
    "estimator": _estimator,
    "fold_length": _fold_length,
    "frontend": _frontend,
    "init_param": _init_param,
    "ngpu": _ngpu,
    "output_dir": _output_dir,
    "pretrain_path": _pretrain_path,
    "train_dtype": _train_dtype,
    "warmup_epochs": _warmup_epochs,
    **{
        option: _only_false(option)
        for option in ("multiple_iterator", "sharded_ddp", "use_adapter")
        + ("use_deepspeed",)
    },
}
