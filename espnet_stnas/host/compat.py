"""What differs between ESPnet versions, besides the parts of operations."""

from __future__ import annotations

from espnet_stnas.ops.espnet import subsampling_module


def too_short_error() -> type[Exception]:
    """What ESPnet's encoders raise at speech that is too short for them, and ours."""
    error: type[Exception] = subsampling_module().TooShortUttError
    return error
