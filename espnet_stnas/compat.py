"""The only file that knows what differs between ESPnet versions."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

import torch

from espnet_stnas.spec import ConfigError

# ESPnet 202511 has espnet.nets, later ones espnet2.legacy.nets.
_NETS = ("espnet2.legacy.nets", "espnet.nets")


def _nets_module(name: str) -> ModuleType:
    """A module below ESPnet's ``nets``, wherever this version keeps it."""
    for root in _NETS:
        try:
            return importlib.import_module(f"{root}.{name}")
        except ModuleNotFoundError as error:
            if error.name is None or not f"{root}.{name}".startswith(error.name):
                raise
    raise ModuleNotFoundError(f"ESPnet has none of {_NETS}", name=name)


def _subsampling() -> ModuleType:
    return _nets_module("pytorch_backend.transformer.subsampling")


def conv2d_subsampling(stride: int, idim: int, odim: int) -> torch.nn.Module:
    """ESPnet's Conv2dSubsampling by ``stride`` without positional encoding."""
    suffix = "" if stride == 4 else str(stride)
    module = getattr(_subsampling(), f"Conv2dSubsampling{suffix}")
    return module(idim, odim, 0.0, torch.nn.Identity())


@functools.cache
def _too_short_class() -> type[Exception]:
    error: type[Exception] = _subsampling().TooShortUttError
    return type(error.__name__, (error, ConfigError), {})


def too_short_error(operation: str, frames: int) -> Exception:
    """ESPnet's TooShortUttError, which its inference turns into an empty result.

    It is a ConfigError as well, since a training that meets it ends with one sentence.
    """
    return _too_short_class()(
        f"{frames} frames are too few for the operation {operation}; accepted are "
        "batches in which one utterance at least is longer (see min_wav_duration of "
        "ESPnet's recipes)",
        frames,
        frames + 1,
    )
