"""Gives the options of a search the types of the command line, and checks ranges.

ESPnet converts and checks options of the command line, but takes any value from a YAML.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any, Union

from espnet2.utils.nested_dict_action import NestedDictAction

from espnet_stnas.messages import quote

Number = Union[int, float]

_NAMES = {
    "float": "a number",
    "float_or_none": "a number",
    "int": "an integer",
    "int_or_none": "an integer",
    "str2bool": "true or false",
    "warmup_epochs": "an integer or auto",
    "str2triple_str": "a list of three texts, such as [valid, loss, min]",
}


@dataclass(frozen=True)
class Range:
    """The numbers that an option accepts.

    Args:
        least: The smallest.
        most: The largest.
        open: Whether ``least`` itself is excluded.
    """

    least: Number
    most: Number = 10**9
    open: bool = False

    def __contains__(self, value: object) -> bool:
        """Return whether the value is a number in the range; NaN is in none."""
        if not isinstance(value, (int, float)):
            return False
        return self.least <= value <= self.most and not (
            self.open and value == self.least
        )

    def __str__(self) -> str:
        """Name the range."""
        if self.open:
            return f"above {self.least}"
        upto = "" if math.isinf(self.most) else f" to {self.most}"
        return f"from {self.least}{upto}"


_FROM_0, _FROM_1 = Range(0), Range(1)
# An infinite limit is none.
_POSITIVE = Range(0, math.inf, open=True)
_SHARE = Range(0, 1)
# Of integers without a range of their own.
_WIDEST = Range(-(10**9))
RANGES: dict[str, Range] = {
    "accum_grad": _FROM_1,
    "batch_bins": _FROM_1,
    "batch_size": _FROM_1,
    "category_sample_size": _FROM_1,
    "chunk_shift_ratio": _POSITIVE,
    "distill_weight": _SHARE,
    "dist_master_port": Range(0, 65535),
    "dist_rank": _FROM_0,
    "dist_world_size": _FROM_1,
    "fold_length": _FROM_1,
    # Below 0, clipped gradients would point the wrong way.
    "grad_clip": _POSITIVE,
    "grad_clip_type": _POSITIVE,
    "input_size": _FROM_1,
    "keep_nbest_models": _FROM_0,
    "local_rank": _FROM_0,
    "log_interval": _FROM_1,
    "max_batch_size": _FROM_1,
    "max_cache_fd": _FROM_0,
    "max_cache_size": Range(0, math.inf),
    "max_epoch": _FROM_1,
    "max_skipped_steps": _FROM_1,
    "min_batch_size": _FROM_1,
    "nbest_averaging_interval": _FROM_0,
    "ngpu": _FROM_0,
    "noise_apply_prob": _SHARE,
    "num_att_plot": _FROM_0,
    "num_cache_chunks": _FROM_1,
    "num_iters_per_epoch": _FROM_1,
    "num_workers": Range(0, 1000),
    "patience": _FROM_0,
    "rir_apply_prob": _SHARE,
    "seed": Range(0, 2**32 - 1),
    "valid_batch_bins": _FROM_1,
    "valid_batch_size": _FROM_1,
    "valid_max_cache_size": Range(0, math.inf),
    "warmup_epochs": _FROM_0,
}


def settle_options(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> list[str]:
    """Convert options to the types of their parser, and check the ranges of numbers.

    Args:
        parser: The parser of the search.
        args: Options of the command line and of a YAML; they are converted in place.
            Those with other values get their defaults, so that others can be checked.

    Returns:
        A sentence for each option with a value that is not accepted.
    """
    problems = []
    for action in parser._actions:
        name = action.dest
        # Mappings are checked where something is built from them. In a config.yaml of
        # ESPnet, the list itself stands in the place of its file.
        free = isinstance(action, NestedDictAction) or name == "token_list"
        if free or not hasattr(args, name):
            continue
        value = getattr(args, name)
        try:
            converted = _converted(action, value)
            _check_range(name, converted)
        except _RefusalError as error:
            problems.append(f"{name} is {quote(value)}; accepted is {error}")
            converted = action.default
        setattr(args, name, converted)
    return problems


class _RefusalError(ValueError):
    """Says what is accepted."""


def _converted(action: argparse.Action, value: Any) -> Any:
    if not _is_list(action):
        if value is None and _takes_none(action):
            return None
        return _scalar(action, value)
    if action.dest == "keep_nbest_models" and type(value) is int:
        return [value]
    count = action.nargs if isinstance(action.nargs, int) else None
    if not isinstance(value, (list, tuple)) or count not in (None, len(value)):
        length = "" if count is None else f" of {count} values"
        raise _RefusalError(f"a list{length}, each {_kind(action)}")
    try:
        return type(value)(_scalar(action, item) for item in value)
    except _RefusalError as error:
        raise _RefusalError(f"a list, each {error}") from None


def _takes_none(action: argparse.Action) -> bool:
    """Return whether an option may be null, as its default or as its word "none"."""
    if action.default is None or action.type is None:
        return True
    try:
        kind: Any = action.type
        return kind("none") is None
    except Exception:  # types of ESPnet may raise anything
        return False


def _is_list(action: argparse.Action) -> bool:
    # 0 is that of flags.
    return action.nargs not in (None, 0) or isinstance(action.default, list)


def _scalar(action: argparse.Action, value: Any) -> Any:
    kind: Any = action.type
    if kind is None:
        return value
    if isinstance(value, (list, tuple)) and kind.__name__ == "str2triple_str":
        if len(value) == 3 and all(isinstance(part, str) for part in value):
            return tuple(value)
        raise _RefusalError(_kind(action))
    try:
        if not isinstance(value, (str, int, float)):
            raise TypeError
        # Words of YAML such as true, and numbers, as the command line has them.
        return value if _has_type(kind, value) else kind(str(value))
    except Exception:  # types of ESPnet may raise anything
        raise _RefusalError(_kind(action)) from None


def _has_type(kind: Any, value: Any) -> bool:
    """Return whether a value needs no conversion."""
    name = getattr(kind, "__name__", "")
    if name == "str2bool":
        return type(value) is bool
    if name in ("int", "int_or_none"):
        return type(value) is int
    if name in ("float", "float_or_none"):
        return type(value) is float
    return isinstance(value, (int, float)) and "size" in name


def _kind(action: argparse.Action) -> str:
    name = getattr(action.type, "__name__", "")
    return _NAMES.get(name, "a text")


def _check_range(name: str, value: Any) -> None:
    values = value if isinstance(value, (list, tuple)) else [value]
    for number in values:
        limits = RANGES.get(name, _WIDEST if type(number) is int else None)
        # A word instead of a number, such as auto, has passed the option's own type.
        if limits is None or number is None or isinstance(number, str):
            continue
        if number not in limits:
            raise _RefusalError(f"a number {limits}")
