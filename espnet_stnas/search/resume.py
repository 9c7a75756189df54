"""Checks whether a search can continue from its checkpoint with the given options."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import check_sums
from espnet_stnas.host.checkpoints import CHECKPOINT
from espnet_stnas.messages import one_line
from espnet_stnas.results.health import Health
from espnet_stnas.search.schedulers import after_warmup
from espnet_stnas.search.warmup import Warmup

_REMEDY = "set the options as they were, or choose another output_dir"


def trains(args: argparse.Namespace) -> bool:
    """Return whether ESPnet is asked to train, not only to prepare it."""
    return not (args.collect_stats or args.dry_run)


def resumes(args: argparse.Namespace) -> bool:
    """Return whether a search with these options continues from a checkpoint."""
    found = (Path(args.output_dir) / CHECKPOINT).exists()
    return bool(args.resume and trains(args) and found)


def check_resume(
    args: argparse.Namespace,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    schedulers: Sequence[Optional[Any]],
) -> int:
    """Load the checkpoint as ESPnet will, before ESPnet overwrites config.yaml.

    Args:
        args: All options.
        model: The model; it gets the weights of the checkpoint.
        optimizers: The optimizers of weights and logits; they do not change.
        schedulers: The schedulers of the options, on temporary optimizers.

    Returns:
        The number of epochs that are done.

    Raises:
        ConfigError: If the checkpoint is damaged, or its state does not fit.
    """
    path = Path(args.output_dir) / CHECKPOINT
    try:
        check_sums(path)
        states = torch.load(path, map_location="cpu", weights_only=True)
        weights = states["model"]
        saved = states["optimizers"], states["schedulers"]
        done = int(states["reporter"]["epoch"])
    except Exception as error:  # torch raises many kinds of errors at a damaged file
        raise ConfigError(
            f"{path} is damaged or no checkpoint of a search "
            f"({type(error).__name__}: {one_line(error)[:200]}); remove it to start "
            "anew, or choose another output_dir"
        ) from error
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(
            f"{path} does not fit the model of these options; {_REMEDY}: "
            f"{one_line(error)[:400]}"
        ) from error
    for suffix, optimizer, state in zip(("", "2"), optimizers, saved[0], strict=True):
        if not _same_kind(optimizer, state):
            raise ConfigError(
                f"optim{suffix} is '{getattr(args, f'optim{suffix}')}', but {path} "
                f"holds the state of another optimizer; {_REMEDY}"
            )
    weight_scheduler, logit_scheduler = schedulers
    warmup = Warmup(args.warmup_epochs, args.max_epoch, Health())
    delayed = after_warmup(logit_scheduler, warmup)
    for suffix, scheduler, state in zip(
        ("", "2"), (weight_scheduler, delayed), saved[1], strict=True
    ):
        if scheduler is not None and _keys(scheduler.state_dict()) != _keys(state):
            raise ConfigError(
                f"scheduler{suffix} is '{getattr(args, f'scheduler{suffix}')}', but "
                f"{path} holds the state of another scheduler or of none; {_REMEDY}"
            )
    return done


def _same_kind(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> bool:
    """Return whether an optimizer has the settings and parameters of a state."""
    own, saved = optimizer.param_groups, state["param_groups"]
    # Schedulers add their initial learning rate.
    return len(own) == len(saved) and all(
        len(a["params"]) == len(b["params"])
        and {*a} - {"initial_lr"} == {*b} - {"initial_lr"}
        for a, b in zip(own, saved, strict=True)
    )


def _keys(state: Optional[Mapping[str, Any]]) -> set[str]:
    """Return the keys of a scheduler's state and of the scheduler that it delays."""
    if state is None:
        return set()
    inner = state.get("scheduler")
    nested = {f"scheduler.{key}" for key in inner} if isinstance(inner, dict) else set()
    return {*state} | nested
