"""Finds the parts of ESPnet that operations use, in every supported version."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from types import ModuleType
from typing import Any

import torch

from espnet_stnas.errors import ConfigError

# ESPnet 202511 has espnet.nets; later versions have espnet2.legacy.nets.
_NETS = ("espnet2.legacy.nets", "espnet.nets")


def _nets_module(name: str) -> ModuleType:
    """Import a module of ESPnet's ``nets`` package of the installed version."""
    for root in _NETS:
        try:
            return importlib.import_module(f"{root}.{name}")
        except ModuleNotFoundError as error:
            if error.name is None or not f"{root}.{name}".startswith(error.name):
                raise
    raise ModuleNotFoundError(f"ESPnet has none of {_NETS}", name=name)


# The parts that operations use, and the modules that define them.
_PARTS = {
    "LayerNorm": ".pytorch_backend.transformer.layer_norm:LayerNorm",
    "PositionwiseFeedForward": (
        ".pytorch_backend.transformer.positionwise_feed_forward:PositionwiseFeedForward"
    ),
    "Swish": ".pytorch_backend.conformer.swish:Swish",
    "PositionalEncoding": ".pytorch_backend.transformer.embedding:PositionalEncoding",
    "RelPositionalEncoding": (
        ".pytorch_backend.transformer.embedding:RelPositionalEncoding"
    ),
    "MultiHeadedAttention": (
        ".pytorch_backend.transformer.attention:MultiHeadedAttention"
    ),
    "RelPositionMultiHeadedAttention": (
        ".pytorch_backend.transformer.attention:RelPositionMultiHeadedAttention"
    ),
    "TransformerLayer": ".pytorch_backend.transformer.encoder_layer:EncoderLayer",
    "ConformerLayer": ".pytorch_backend.conformer.encoder_layer:EncoderLayer",
    "ConvolutionModule": ".pytorch_backend.conformer.convolution:ConvolutionModule",
    "ConvolutionalGatingMLP": "espnet2.asr.layers.cgmlp:ConvolutionalGatingMLP",
    "MultiConvolutionalGatingMLP": (
        "espnet2.asr.layers.multiconv_cgmlp:MultiConvolutionalGatingMLP"
    ),
    "EBranchformerLayer": (
        "espnet2.asr.encoder.e_branchformer_encoder:EBranchformerEncoderLayer"
    ),
}


def espnet_version() -> str:
    """Return the version of the installed ESPnet, or a note that it is unknown."""
    try:
        return importlib.metadata.version("espnet")
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def espnet_part(name: str, operation: str) -> Any:
    """Return a class of ESPnet that an operation uses.

    Args:
        name: Our name of the class, which may differ between versions of ESPnet.
        operation: Name of the operation, for the message.

    Raises:
        ConfigError: If the installed ESPnet has no such class.
    """  # noqa: DOC501 (other errors become a ConfigError)
    place, _, class_name = _PARTS[name].partition(":")
    try:
        # Sizes are checked on the meta device; a module that makes tensors when it is
        # imported must not make them there.
        with torch.device("cpu"):
            if place.startswith("."):
                module = _nets_module(place[1:])
            else:
                module = importlib.import_module(place)
        return getattr(module, class_name)
    except (ModuleNotFoundError, AttributeError) as error:
        ours = (error.name or "").startswith(("espnet", "pytorch_backend"))
        if isinstance(error, ModuleNotFoundError) and not ours:
            raise  # a package that ESPnet needs is not installed
        raise ConfigError(
            f"operation '{operation}' needs {class_name} of {place.lstrip('.')}, which "
            f"the installed ESPnet {espnet_version()} lacks; accepted are versions "
            "that have it, such as 202511"
        ) from error


def subsampling_module() -> ModuleType:
    """Import ESPnet's module of convolutional subsampling."""
    return _nets_module("pytorch_backend.transformer.subsampling")


def conv2d_subsampling(stride: int, idim: int, odim: int) -> torch.nn.Module:
    """Build ESPnet's Conv2dSubsampling without positional encoding.

    Args:
        stride: Input frames per output frame: 2, 4, 6 or 8.
        idim: Dimensions of an input frame.
        odim: Dimensions of an output frame.
    """
    suffix = "" if stride == 4 else str(stride)
    module = getattr(subsampling_module(), f"Conv2dSubsampling{suffix}")
    return module(idim, odim, 0.0, torch.nn.Identity())


@functools.cache
def _too_short_class() -> type[Exception]:
    error: type[Exception] = subsampling_module().TooShortUttError
    return type(error.__name__, (error, ConfigError), {})


def too_short_error(operation: str, frames: int) -> Exception:
    """Build a TooShortUttError, which ESPnet's inference turns into an empty result.

    The error is a ConfigError as well, so that a training ends with one sentence.
    """
    return _too_short_class()(
        f"{frames} frames are too few for the operation {operation}; accepted are "
        "batches in which one utterance at least is longer (see min_wav_duration of "
        "ESPnet's recipes)",
        frames,
        frames + 1,
    )
