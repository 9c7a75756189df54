"""Errors that a program reports in one sentence instead of a traceback."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import yaml

from espnet_stnas.messages import one_line, worker_message


class ConfigError(ValueError):
    """Something that a user wrote (YAML key, option, file) cannot be honoured."""


class DataError(ConfigError):
    """An utterance cannot be read.

    Args:
        message: The sentence, or what torch makes of it in a worker process.
    """

    def __init__(self, message: str) -> None:
        inner = worker_message(message)
        super().__init__(message if inner is None else inner.partition(": ")[2])


class WriteError(OSError):
    """A file could not be written; the message names the file and the reason."""

    def __str__(self) -> str:
        return f"{self.filename} cannot be written: {self.strerror}"


class TrainingError(RuntimeError):
    """A training cannot go on: steps are not finite, or ranks disagree."""


# A missing file, a full disk or a missing permission is no fault of the program.
_REFUSALS = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
)


# If this is 1, errors show their traceback. `stnas --debug` sets it.
DEBUG = "STNAS_DEBUG"


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the program with one sentence if something that the user wrote is wrong.

    The program ends in the same way if our code or ESPnet cannot use a file. The exit
    status is 1. With the environment variable ``STNAS_DEBUG``, the traceback comes
    first.

    Raises:
        OSError: If the error is not about a file.
    """
    try:
        yield
    except (ConfigError, TrainingError, WriteError) as error:
        _end(one_line(error))
    except yaml.YAMLError as error:
        _end(f"a YAML file is damaged: {one_line(error)}")
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        file = "a file" if error.filename is None else error.filename
        _end(f"{one_line(file)} cannot be used: {error.strerror}")


def _end(sentence: str) -> NoReturn:
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        traceback.print_exc()
    sys.exit(f"error: {sentence}")
