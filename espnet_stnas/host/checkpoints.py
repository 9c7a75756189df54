"""Checkpoints that survive a kill at any moment."""

from __future__ import annotations

import datetime
import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from espnet2.train.reporter import Reporter

from espnet_stnas.errors import WriteError
from espnet_stnas.files import writing

CHECKPOINT = "checkpoint.pth"
_MODEL_OF_EPOCH = re.compile(r"\d+epoch\.pth")


@contextmanager
def whole_saves() -> Iterator[None]:
    """Let `torch.save` write whole files or nothing, and checkpoints last.

    ESPnet's trainer writes ``checkpoint.pth`` in place, and after it the model of the
    epoch and the links to the latest and the best model. Killed in between, a training
    could not go on, would lack a model that it averages in the end, or would leave a
    link to a model that is not the best. Inside this context, a file gets its name when
    it is complete, and ``checkpoint.pth`` when all the rest of the epoch is done: the
    next epoch begins, or models are averaged. Only tensors and plain values are
    written, so that a checkpoint can be loaded with ``weights_only=True``.

    Two functions are replaced inside the context, and are back after it. No version of
    ESPnet offers another way: its trainer calls ``torch.save`` in the middle of
    ``Trainer.run``, between whose lines no method is called that a subclass could
    override, and trainings of ESPnet's own trainer are to be protected, too. An epoch
    begins with ``Reporter.set_epoch``, in both.
    """
    saves = _WholeSaves(torch.save)
    set_epoch = Reporter.set_epoch

    def set_next_epoch(self: Reporter, epoch: int) -> None:
        saves.publish()
        set_epoch(self, epoch)

    torch.save = saves
    Reporter.set_epoch = set_next_epoch
    try:
        yield
        saves.publish()
    finally:
        torch.save = saves.save
        Reporter.set_epoch = set_epoch
        saves.discard()


class _WholeSaves:
    """Stands for `torch.save`."""

    def __init__(self, save: Any) -> None:
        self.save = save
        self._checkpoint: Optional[tuple[Path, Path]] = None

    def __call__(self, obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(f, (str, os.PathLike)):
            self.save(obj, f, *args, **kwargs)
            return
        target = Path(f)
        temporary = target.with_name(f".{target.name}.partial")
        try:
            with writing(target):
                self.save(_plain(obj), temporary, *args, **kwargs)
                _to_disk(temporary)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            self.discard()
            if _is_of_the_disk(error):
                raise WriteError(
                    errno.EIO,
                    "the disk is full, or the directory cannot be written to; what was "
                    "saved before is as it was",
                    str(target),
                ) from error
            raise
        if target.name == CHECKPOINT:
            self._checkpoint = (temporary, target)
            return
        with writing(target):
            os.replace(temporary, target)
        if not _MODEL_OF_EPOCH.fullmatch(target.name):
            self.publish()

    def publish(self) -> None:
        """Give the checkpoint that waits its name."""
        if self._checkpoint is not None:
            with writing(self._checkpoint[1]):
                os.replace(*self._checkpoint)
            self._checkpoint = None

    def discard(self) -> None:
        """Remove the checkpoint that waits, so that the one before it stays valid."""
        if self._checkpoint is not None:
            self._checkpoint[0].unlink(missing_ok=True)
            self._checkpoint = None


def _plain(value: Any) -> Any:
    """The same in what `weights_only=True` accepts; state dicts are left alone."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, datetime.timedelta):
        # As later versions of ESPnet's reporter write it. No version reads it.
        return {"__timedelta_seconds__": value.total_seconds()}
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    return value


def _to_disk(path: Path) -> None:
    """Wait until a file would survive a loss of power."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _is_of_the_disk(error: BaseException) -> bool:
    """Whether torch could not write. It says so in C++, by a plain RuntimeError."""
    marks = ("inline_container", "PytorchStreamWriter", "Parent directory")
    return isinstance(error, RuntimeError) and any(m in str(error) for m in marks)
