"""Writes checkpoints that survive a kill at any moment."""

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
from espnet_stnas.files import give_name, writing

CHECKPOINT = "checkpoint.pth"
_MODEL_OF_EPOCH = re.compile(r"\d+epoch\.pth")
# Models and links to models that ESPnet's trainer writes beside the checkpoint.
_MODELS = re.compile(
    r"\d+epoch\.pth|latest\.pth|\w+\.\w+\.(best|ave(_\d+best)?(\.till\d+epoch)?)\.pth"
)


def remove_checkpoints(directory: Path) -> None:
    """Remove the checkpoint of an older training, then its models and their links.

    Args:
        directory: Output directory of the training.
    """
    (directory / CHECKPOINT).unlink(missing_ok=True)
    for path in directory.glob("*.pth"):
        if _MODELS.fullmatch(path.name):
            path.unlink()


@contextmanager
def whole_saves() -> Iterator[None]:
    """Let `torch.save` write each file completely or not at all, and checkpoints last.

    ESPnet's trainer writes ``checkpoint.pth`` in place. After it, the trainer writes
    the model of the epoch and the links to the latest and the best model. If a training
    is killed in between, it may not be able to continue, may lack a model for the final
    average, or may leave a link to a model that is not the best. Inside this context, a
    file gets its name when it is complete. ``checkpoint.pth`` gets its name when all
    other files of the epoch are complete: when the next epoch begins, or models are
    averaged. Checkpoints contain only tensors and plain values, so that
    ``torch.load(weights_only=True)`` accepts them.

    Inside the context, two functions are replaced. No version of ESPnet offers another
    way: its trainer calls ``torch.save`` in the middle of ``Trainer.run`` and calls no
    method around it that a subclass could override, and trainings with ESPnet's own
    trainer need protection, too. In both trainers, an epoch begins with
    ``Reporter.set_epoch``.
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
    """Replaces `torch.save`."""

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
            give_name(temporary, target)
        if not _MODEL_OF_EPOCH.fullmatch(target.name):
            self.publish()

    def publish(self) -> None:
        """Give the waiting checkpoint its name."""
        if self._checkpoint is not None:
            with writing(self._checkpoint[1]):
                give_name(*self._checkpoint)
            self._checkpoint = None

    def discard(self) -> None:
        """Remove the waiting checkpoint; the previous one stays valid."""
        if self._checkpoint is not None:
            self._checkpoint[0].unlink(missing_ok=True)
            self._checkpoint = None


def _plain(value: Any) -> Any:
    """Convert a value to types that `weights_only=True` accepts, except state dicts."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, datetime.timedelta):
        # Later versions of ESPnet's reporter write it so. No version reads it.
        return {"__timedelta_seconds__": value.total_seconds()}
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    return value


def _is_of_the_disk(error: BaseException) -> bool:
    """Return whether torch could not write to the disk.

    Torch reports this from C++ as a plain RuntimeError.
    """
    marks = ("inline_container", "PytorchStreamWriter", "Parent directory")
    return isinstance(error, RuntimeError) and any(m in str(error) for m in marks)
