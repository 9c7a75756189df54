"""Checks before an ESPnet training starts, for errors that ESPnet finds late."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import torch

from espnet_stnas.errors import ConfigError


def check_training(
    parser: argparse.ArgumentParser, cmd: Sequence[str]
) -> tuple[Optional[str], Optional[int]]:
    """Check the options of an ESPnet training.

    Args:
        parser: The parser of the options; like ESPnet, it ends the program if it cannot
            read them.
        cmd: The command line.

    Returns:
        The YAML of the training, and the dimensions of its feature frames, if known.

    Raises:
        ConfigError: If the training cannot run with these options.
    """
    args = parser.parse_args(list(cmd))
    if getattr(args, "print_config", False):
        return None, None
    check_ngpu(args)
    size = _frontend_size(args)
    check_statistics(args, size)
    return getattr(args, "config", None), size


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
