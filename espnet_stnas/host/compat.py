"""Differences between ESPnet versions, except for the parts of operations."""

from __future__ import annotations

from espnet_stnas.ops.espnet import subsampling_module


def too_short_error() -> type[Exception]:
    """Return the error class that encoders raise if speech is too short."""
    error: type[Exception] = subsampling_module().TooShortUttError
    return error
