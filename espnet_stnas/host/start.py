"""Starts ESPnet trainings: what ESPnet finds late is checked, one runs at a time."""

from __future__ import annotations

import argparse
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from espnet2.train.distributed_utils import (
    get_node_rank,
    get_rank,
    resolve_distributed_mode,
)

from espnet_stnas.errors import ConfigError
from espnet_stnas.host.checkpoints import CHECKPOINT, remove_checkpoints
from espnet_stnas.host.lock import locked
from espnet_stnas.network.loading import digest_key
from espnet_stnas.notation.space import SearchSpace


@contextmanager
def training(
    parser: argparse.ArgumentParser, cmd: Sequence[str]
) -> Iterator[tuple[Optional[str], Optional[int]]]:
    """Hold the directory of an ESPnet training while it runs, and check its options.

    Args:
        parser: The parser of the options; like ESPnet, it ends the program if it cannot
            read them.
        cmd: The command line.

    Yields:
        The YAML of the training, and the dimensions of its feature frames, if known.

    Raises:
        ConfigError: If the training cannot run with these options, or the directory is
            in use. Nothing has been written then.
    """
    args = parser.parse_args(list(cmd))
    if getattr(args, "print_config", False):
        yield None, None
        return
    check_ngpu(args)
    size = _frontend_size(args)
    check_statistics(args, size)
    config = getattr(args, "config", None)
    if getattr(args, "output_dir", None) is None or not _writes(args):
        yield config, size
        return
    with locked(args.output_dir, "training"):
        _check_directory(args)
        if _starts_anew(args):
            remove_checkpoints(Path(args.output_dir))
        yield config, size


def resolved(args: argparse.Namespace) -> argparse.Namespace:
    """Return the options with ``distributed``, as ESPnet will resolve them."""
    copy = argparse.Namespace(**vars(args))
    # ESPnet takes this variable away, and will look for it once more.
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    resolve_distributed_mode(copy)
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices
    return copy


def _writes(args: argparse.Namespace) -> bool:
    """Return whether this process is, or starts, the first of a training."""
    try:
        options = resolved(args)
        if not options.distributed:
            return True
        rank = get_node_rank if options.multiprocessing_distributed else get_rank
        return (rank(options.dist_rank, options.dist_launcher) or 0) == 0
    except RuntimeError:
        return False  # ESPnet will say the same


def _starts_anew(args: argparse.Namespace) -> bool:
    """Return whether a training of our encoder replaces an older one."""
    trains = not (args.collect_stats or args.dry_run)
    return trains and getattr(args, "encoder", None) == "stnas" and not args.resume


def _check_directory(args: argparse.Namespace) -> None:
    """Check that a training may write to its directory, or go on from what is there.

    Raises:
        ConfigError: If the directory holds a search, or a checkpoint that is damaged or
            has another architecture.
    """
    directory = Path(args.output_dir)
    if any((directory / "architectures").glob("*epoch.yaml")):
        raise ConfigError(
            f"{directory} holds a search; choose another output_dir for a training"
        )
    path = directory / CHECKPOINT
    if not path.exists() or not args.resume:
        return
    remedy = "remove it to start anew, or choose another output_dir"
    if not zipfile.is_zipfile(path):
        raise ConfigError(f"{path} is damaged; {remedy}")
    if getattr(args, "encoder", None) != "stnas":
        return
    own = digest_key(SearchSpace.from_conf(args.encoder_conf or {}))
    try:
        states = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        found = [key.rpartition(".")[2] for key in states["model"]]
    except Exception:  # of many kinds; an ESPnet without us wrote it
        return
    if own not in found:
        raise ConfigError(
            f"{path} has the weights of another architecture than "
            f"{getattr(args, 'config', None) or 'these options'}; {remedy}"
        )


def check_ngpu(args: argparse.Namespace) -> None:
    """Check that there are as many GPUs as requested.

    Raises:
        ConfigError: If there are fewer.
    """
    asked = getattr(args, "ngpu", 0)
    if type(asked) is not int or asked < 1:
        return
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < asked:
        raise ConfigError(
            f"ngpu is {asked}, but torch finds {found or 'no'} CUDA "
            f"device{'s' if found > 1 else ''} here; accepted is 0 "
            f"(the CPU){f' to {found}' if found else ''}, and --ngpu is the option"
        )


def check_statistics(args: argparse.Namespace, size: Optional[int]) -> None:
    """Check that the statistics for normalization have the size of the features.

    Args:
        args: The options of a training.
        size: Dimensions of a feature frame; None if not known.

    Raises:
        ConfigError: If the statistics have another size.
    """
    if getattr(args, "normalize", None) != "global_mvn" or args.collect_stats:
        return
    file = (args.normalize_conf or {}).get("stats_file")
    found = None if file is None else _statistics_size(file)
    if None in (size, found) or size == found:
        return
    raise ConfigError(
        f"normalize_conf: stats_file {file} has statistics of {found} dimensions, but "
        f"the features of this training have {size}; accepted are statistics of the "
        "same features: collect them in a directory of their own (asr.sh --stage 10 "
        "--stop_stage 10 --asr_stats_dir DIR, then the same --asr_stats_dir)"
    )


def model_frame_size(model: Any, args: argparse.Namespace) -> Optional[int]:
    """Return the dimensions of the frames that a model normalizes, if known.

    Args:
        model: ESPnet's model of a task.
        args: The options that it was built from.
    """
    frontend = getattr(model, "frontend", None)
    given = getattr(args, "input_size", None)
    if frontend is None:
        return given
    return frontend.output_size() if given is None else None


def _frontend_size(args: argparse.Namespace) -> Optional[int]:
    """Return the size of feature frames from the options alone, if known.

    Only the default frontend is built, since that takes almost no time.
    """
    given: Optional[int] = getattr(args, "input_size", None)
    if given is not None or getattr(args, "frontend", None) != "default":
        return given
    from espnet2.asr.frontend.default import DefaultFrontend

    try:
        size: int = DefaultFrontend(**args.frontend_conf).output_size()
    except Exception:  # of many kinds; the training will report it
        return None
    return size


def _statistics_size(file: str) -> Optional[int]:
    """Return the dimensions of statistics in an .npz of ESPnet or a Kaldi array."""
    try:
        data = np.load(file)
        if isinstance(data, np.ndarray):
            return int(data.shape[1]) - 1
        return int(data["sum"].size)
    except (OSError, ValueError, LookupError, TypeError):
        return None  # the training will report it
