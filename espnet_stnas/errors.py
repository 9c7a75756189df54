"""Errors for people: one sentence instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from espnet_stnas.spec import ConfigError


class TrainingError(RuntimeError):
    """A training that cannot go on: steps that are not finite, ranks that disagree."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the program with one sentence if what the user wrote is wrong."""
    try:
        yield
    except (ConfigError, TrainingError) as error:
        sys.exit(f"error: {error}")
    except yaml.YAMLError as error:
        sys.exit(f"error: a YAML file is damaged: {' '.join(str(error).split())}")
