"""Starts a search as one transaction: lock, check everything, clear, write."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from espnet2.torch_utils.load_pretrained_model import load_pretrained_model

from espnet_stnas.cost.latency import device_name
from espnet_stnas.errors import ConfigError
from espnet_stnas.host.checkpoints import remove_checkpoints
from espnet_stnas.host.lock import locked
from espnet_stnas.messages import quote
from espnet_stnas.results import health
from espnet_stnas.results.curves import CURVES, RUNS, note_run, read_runs
from espnet_stnas.results.experiment import ARCHITECTURES, FAILED, SearchExperiment
from espnet_stnas.search.checks import building
from espnet_stnas.search.ranks import on_first_rank, refuse_differences
from espnet_stnas.search.warmup import FIRST_WEIGHTS

# With another value of one of these, a search is another one, or ESPnet would go on
# with the old value in silence.
_FIXED = (
    *("seed", "estimator", "estimator_conf", "cost_conf", "warmup_epochs", "arch_data"),
    *("elastic", "distill_weight"),
    *("path_draws", "train_dtype", "optim_conf", "optim2_conf"),
    *("scheduler_conf", "scheduler2_conf"),
)
# Files whose contents say what is searched on, whatever their names are.
_DATA = ("train_shape_file", "valid_shape_file", "token_list")
# Options that may differ between the processes of a search: places, and who is who.
_OF_A_RANK = (
    *("config", "ngpu", "local_rank", "log_level", "num_workers", "output_dir"),
    *("init_param", "normalize_conf", "bpemodel", "non_linguistic_symbols"),
    *("train_data_path_and_name_and_type", "valid_data_path_and_name_and_type"),
)


class Started(argparse.Namespace):
    """All options of a search, and what is held while it runs.

    ESPnet passes its options to each of its methods, and writes all of their
    dictionary to config.yaml. The slot is not in the dictionary.
    """

    __slots__ = ("held",)
    held: ExitStack


@contextmanager
def started(args: argparse.Namespace) -> Iterator[Started]:
    """Yield the options for a run, and give back at its end what it has taken."""
    with ExitStack() as held:
        options = Started(**vars(args))
        options.held = held
        yield options


def take_directory(args: Started) -> None:
    """Lock the output directory for all processes of a search.

    Raises:
        ConfigError: On all ranks, if another search or training holds it, or if the
            ranks have different options.
        WriteError: If it cannot be written to.
    """
    options = {
        key: value
        for key, value in vars(args).items()
        if key not in (*_OF_A_RANK, *_DATA) and not key.startswith("dist_")
    }
    refuse_differences({**options, **_contents(args)})
    on_first_rank(lambda: args.held.enter_context(locked(args.output_dir, "search")))


def check_unchanged(args: argparse.Namespace) -> None:
    """Check that a search goes on with the options that it began with.

    Raises:
        ConfigError: If an option has changed that makes the search another one.
    """
    known: dict[str, Any] = {}
    for run in read_runs(args.output_dir):
        known = run.get("options", known)
    if not isinstance(known, dict):
        return
    remedy = "set it as it was, choose another output_dir, or give --resume false"
    for key, value in _identity(args).items():
        if key not in known or known[key] == value:
            continue
        if key in _DATA:
            raise ConfigError(
                f"{key} {quote(getattr(args, key))} has other contents than in the "
                f"search of {args.output_dir}, which would go on from its checkpoint; "
                f"{remedy}"
            )
        raise ConfigError(
            f"{key} is {quote(value)}, and was {quote(known[key])} in the search of "
            f"{args.output_dir}, which would go on from its checkpoint; {remedy}"
        )


def check_epochs(args: argparse.Namespace, done: int) -> None:
    """Check that a search has epochs left, or has ended well with these options.

    Args:
        args: All options.
        done: Number of epochs of its checkpoint.

    Raises:
        ConfigError: If more epochs are done than asked for, or the search has failed.
    """
    if done > args.max_epoch:
        raise ConfigError(
            f"max_epoch is {args.max_epoch}, but {args.output_dir} has a search of "
            f"{done} epochs; accepted is {done} or more, another output_dir, or "
            "--resume false, which starts anew in its place"
        )
    failure = SearchExperiment.failure_in(args.output_dir)
    if done == args.max_epoch and failure is not None:
        raise ConfigError(
            f"the search in {args.output_dir} failed ({failure}), and no epoch is "
            "left; raise max_epoch, or give --resume false to start anew"
        )


def check_place(args: argparse.Namespace, model: torch.nn.Module) -> None:
    """Check that the disk has room for the first checkpoint.

    Raises:
        ConfigError: If it certainly has not.
    """
    # checkpoint.pth holds the model and more; <epoch>epoch.pth holds it once more.
    state = [v for v in model.state_dict().values() if torch.is_tensor(v)]
    needed = 2 * sum(v.numel() * v.element_size() for v in state)
    free = shutil.disk_usage(args.output_dir).free
    if free < needed:
        raise ConfigError(
            f"the disk of output_dir {args.output_dir} has {free / 1e6:.0f} MB left, "
            f"and the first checkpoint needs more than {needed / 1e6:.0f} MB"
        )


def check_weights(args: argparse.Namespace, model: torch.nn.Module) -> None:
    """Load init_param, as ESPnet will when it has overwritten config.yaml.

    Raises:
        ConfigError: If a file does not fit the model.
    """
    for text in args.init_param:
        with building(f"the model with init_param {quote(text)}"):
            load_pretrained_model(
                model=model,
                init_param=text,
                ignore_init_mismatch=args.ignore_init_mismatch,
                map_location="cpu",
            )


def begin(args: argparse.Namespace, done: int) -> None:
    """Remove what this run must not inherit, and write down its start, on rank 0.

    Args:
        args: All options; all checks have passed.
        done: Number of epochs of the checkpoint from which it goes on; 0: it starts
            anew.
    """

    def clear_and_write() -> None:
        clear(Path(args.output_dir), done)
        _note_start(args)

    on_first_rank(clear_and_write)


def clear(directory: Path, done: int = 0) -> None:
    """Remove the files of later epochs, or of a whole older search.

    Args:
        directory: Output directory of the search.
        done: Number of epochs to keep; 0: none, so nothing of an older search stays.
    """
    if not done:
        if (directory / ARCHITECTURES).exists():
            logging.warning(f"Removing the older search in {directory}")
        # First, so that nothing goes on from it if this is interrupted.
        remove_checkpoints(directory)
        for name in ("images", "att_ws", "tensorboard", "split", "report"):
            if (directory / name).is_dir():
                shutil.rmtree(directory / name)
        for name in (RUNS, "warnings.yaml", health.FILE, FIRST_WEIGHTS):
            (directory / name).unlink(missing_ok=True)
    (directory / FAILED).unlink(missing_ok=True)
    if (directory / health.FILE).exists():
        health.write_health(directory, health.read_health(directory).up_to(done))
    clear_epochs(directory, done)


def clear_epochs(directory: Path, done: int) -> None:
    """Remove the architecture files and curves of later epochs.

    Args:
        directory: Output directory of the search.
        done: Number of epochs to keep.
    """
    for folder in (ARCHITECTURES, CURVES):
        for file in (directory / folder).glob("*epoch.*"):
            number = file.name.split("epoch.")[0]
            if number.isdigit() and int(number) > done:
                file.unlink()


def _identity(args: argparse.Namespace) -> dict[str, Any]:
    """Return what a search cannot change when it goes on, as JSON has it."""
    values = {**{key: getattr(args, key, None) for key in _FIXED}, **_contents(args)}
    found: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return found


def _contents(args: argparse.Namespace) -> dict[str, str]:
    """Return a digest of the contents of each option that names files of data."""
    digests = {}
    for key in _DATA:
        value = getattr(args, key, None) or []
        state = hashlib.sha256()
        for name in [value] if isinstance(value, str) else value:
            path = Path(str(name))
            state.update(path.read_bytes() if path.is_file() else str(name).encode())
            state.update(b"\0")
        digests[key] = state.hexdigest()[:16]
    return digests


def _note_start(args: argparse.Namespace) -> None:
    """Write down the command that starts or continues a search, and its machine."""
    command = list(sys.orig_argv)
    if "multiprocessing" in " ".join(command[:4]):
        # A process that ESPnet started for a GPU has only the arguments.
        command = [command[0], *sys.argv]
    note_run(
        args.output_dir,
        started=datetime.now().isoformat(sep=" ", timespec="seconds"),
        device=device_name(torch.device("cuda" if args.ngpu > 0 else "cpu")),
        command=command,
        options=_identity(args),
    )
