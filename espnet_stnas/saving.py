"""Checkpoints that survive a kill at any moment."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import torch

from espnet_stnas.files import WriteError, writing

CHECKPOINT = "checkpoint.pth"


@contextmanager
def whole_saves() -> Iterator[None]:
    """Let `torch.save` write whole files or nothing, and checkpoints last.

    ESPnet's trainer writes ``checkpoint.pth`` in place, and the model of the epoch
    after it. Killed in between, a training could not go on, or would lack a model that
    it averages in the end. Inside this context, a file gets its name when it is
    complete, and ``checkpoint.pth`` when the next file is, too.
    """
    saves = _WholeSaves(torch.save)
    torch.save = saves
    try:
        yield
        saves.publish()
    finally:
        torch.save = saves.save
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
                self.save(obj, temporary, *args, **kwargs)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
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


def _is_of_the_disk(error: BaseException) -> bool:
    """Whether torch could not write. It says so in C++, by a plain RuntimeError."""
    marks = ("inline_container", "PytorchStreamWriter", "Parent directory")
    return isinstance(error, RuntimeError) and any(m in str(error) for m in marks)
