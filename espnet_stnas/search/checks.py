"""Checks options that ESPnet and torch would refuse late, with a traceback."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

import torch
from espnet2.tasks.abs_task import optim_classes, scheduler_classes
from espnet2.utils.nested_dict_action import NestedDictAction
from torch.optim.lr_scheduler import CosineAnnealingLR

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.host.schedule import WarmupLinearLR
from espnet_stnas.messages import one_line, quote

_NAMES = {
    "int": "an integer",
    "float": "a number",
    "str2bool": "true or false",
    "warmup_epochs": "an integer or auto",
}


def check_config(parser: argparse.ArgumentParser, path: str) -> None:
    """Check that every key and value in the YAML of a search fits an option.

    ESPnet checks options of the command line, but accepts any value from a YAML.

    Args:
        parser: The parser that defines the options.
        path: The YAML.

    Raises:
        ConfigError: If the file is damaged, a key is no option, or a value is of
            another kind than its option.
    """
    config = read_yaml_mapping(path, "search config")
    options = {action.dest: action for action in parser._actions}
    for key, value in config.items():
        if key not in options:
            raise ConfigError(
                f"search config {path}: unknown key {quote(key)}; accepted are the "
                "options that --help shows"
            )
        accepted = _accepted_instead(options[key], value)
        if accepted is not None:
            raise ConfigError(
                f"search config {path}: {key} is {quote(value)}; {accepted}"
            )
    seed = config.get("seed", 0)
    if not 0 <= int(seed) < 2**32:
        raise ConfigError(
            f"search config {path}: seed is {quote(seed)}; accepted is an integer from "
            "0 to 2^32 - 1"
        )


def _accepted_instead(action: argparse.Action, value: Any) -> Optional[str]:
    """Return what an option accepts; None if it accepts the value."""
    if isinstance(action, NestedDictAction):
        fits = value is None or isinstance(value, dict)
        return None if fits else "accepted is a mapping of keys"
    # Options that may be repeated, or take several values.
    if action.nargs is not None or isinstance(action.default, (list, tuple)):
        return None
    if value is None and action.default is None:
        return None
    kind: Any = action.type
    if kind is not None:
        try:
            value = kind("none" if value is None else str(value))
        except Exception:  # types of ESPnet may raise anything
            name = getattr(kind, "__name__", "")
            return f"accepted is {_NAMES.get(name, 'another kind of value')}"
        if value is None:
            # ESPnet's types that read "none" as None accept null, even if None is not
            # among the choices: `frontend: null` with `input_size`.
            return None
    if action.choices is not None and value not in list(action.choices):
        return f"accepted are: {', '.join(map(str, action.choices))}"
    return None


@contextmanager
def building(what: str) -> Iterator[None]:
    """Turn errors of ESPnet and torch into a ConfigError of one sentence.

    The traceback is in the log at the level DEBUG.

    Args:
        what: Name of the object that is built, and its options.

    Raises:
        ConfigError: Instead of any other exception.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # of many kinds: assertions, typeguard, torch
        logging.debug("%s cannot be built", what, exc_info=True)
        raise ConfigError(
            f"{what} cannot be built; ESPnet says: "
            f"{type(error).__name__}: {one_line(error)[:500]}"
        ) from error


def check_scheduler(args: argparse.Namespace, suffix: str) -> Any:
    """Build a scheduler on a temporary optimizer to check its options.

    Args:
        args: All options.
        suffix: The number of the scheduler in the names of its options.

    Returns:
        The scheduler; None if the options name none.

    Raises:
        ConfigError: If it cannot be built.
    """
    scheduler, conf = (getattr(args, f"scheduler{suffix}{o}") for o in ("", "_conf"))
    if scheduler is None:
        return None
    optim, optim_conf = (getattr(args, f"optim{suffix}{o}") for o in ("", "_conf"))
    with building(f"scheduler{suffix} {quote(scheduler)} with its conf"):
        weights = [torch.nn.Parameter(torch.zeros(1))]
        optimizer = optim_classes[optim](weights, **optim_conf)
        found = scheduler_classes[scheduler](optimizer, **conf)
    # The search has no say in a schedule of the logits, which starts after the warm-up.
    if not suffix and isinstance(found, CosineAnnealingLR):
        _check_end("T_max", found.T_max, args.max_epoch, " and rises again")
    elif not suffix and isinstance(found, WarmupLinearLR):
        _check_end("max_epoch", found.max_epoch, args.max_epoch, "")
    return found


def _check_end(key: str, epochs: int, max_epoch: int, then: str) -> None:
    """Warn if a learning rate does not fall to zero at the end of the search."""
    if epochs < max_epoch:
        logging.warning(
            f"scheduler_conf has {key} {epochs} and the search has max_epoch "
            f"{max_epoch}: the learning rate is zero after epoch {epochs}{then}"
        )
    elif epochs > max_epoch:
        logging.warning(
            f"scheduler_conf has {key} {epochs} and the search has max_epoch "
            f"{max_epoch}: it ends before the learning rate has fallen to zero"
        )
