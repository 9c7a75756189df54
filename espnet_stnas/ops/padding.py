"""Keeps padding frames out of ESPnet's layers.

ESPnet's convolutions read padding frames, which are not zero after a bias or a layer
norm, and its batch norms include them. (Version 202611 zeroes padding before
convolutions, but still includes it in batch norms.) Here both use valid frames only,
with ESPnet's own forward methods and parameter names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Optional

import torch
import torch.nn.functional as F

from espnet_stnas.ops.caching import active_cache
from espnet_stnas.ops.lengths import padding_mask
from espnet_stnas.ops.norm import MaskedBatchNorm

# The lengths (B,) of the present batch, which ESPnet's layers do not pass on to their
# convolutions. This is not an attribute of a module, since the replicas that
# torch.nn.DataParallel runs in threads share attributes.
_LENGTHS: ContextVar[Optional[torch.Tensor]] = ContextVar("lengths", default=None)


@contextmanager
def valid_lengths(lengths: torch.Tensor) -> Iterator[None]:
    """Tell the convolutions and batch norms inside how many frames (B,) are valid."""
    token = _LENGTHS.set(lengths)
    try:
        yield
    finally:
        _LENGTHS.reset(token)


def keep_padding_out(layer: torch.nn.Module) -> None:
    """Make all convolutions and batch norms inside a layer skip padding frames.

    Call this once per layer; the layer must then run inside :func:`valid_lengths`.
    """
    for parent in list(layer.modules()):
        for name, module in parent.named_children():
            if isinstance(module, torch.nn.Conv1d) and module.kernel_size[0] > 1:
                module.register_forward_pre_hook(_zero_padding)
            elif isinstance(module, torch.nn.BatchNorm1d):
                setattr(parent, name, _ChannelsFirstBatchNorm(module.num_features))


def set_sides(layer: torch.nn.Module, name: str, before: int, after: int) -> None:
    """Let a convolution see other numbers of frames before and after.

    Call this after :func:`keep_padding_out`, which makes padding frames zero. On a part
    of an utterance, a convolution without frames after keeps those before in the cache.

    Args:
        layer: A layer of ESPnet.
        name: Name of its 1-D convolution, over (B, D, T) and padded on both sides.
        before: Frames before the present one.
        after: Frames after it; with the frames before, one less than its kernel.
    """
    if before == after:
        return
    conv = layer.get_submodule(name)
    assert isinstance(conv, torch.nn.Conv1d)
    conv.taps_before = before  # type: ignore[assignment]
    conv.padding = (0,)
    conv.register_forward_pre_hook(partial(_pad_sides, name, before, after))


def _pad_sides(
    name: str,
    before: int,
    after: int,
    module: torch.nn.Module,
    inputs: tuple[Any, ...],
) -> tuple[Any, ...]:
    xs, *others = inputs  # (B, D, T)
    cache = active_cache()
    if cache is None:
        return (F.pad(xs, (before, after)), *others)
    return (cache.extended(name, xs, before, dim=2), *others)


def _zero_padding(module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    xs, *others = inputs  # (B, D, T)
    lengths = _LENGTHS.get()
    assert lengths is not None
    mask = padding_mask(lengths, xs.size(2)).unsqueeze(1)
    return (xs.masked_fill(mask, 0.0), *others)


class _ChannelsFirstBatchNorm(MaskedBatchNorm):
    """Masked batch norm on (B, D, T); replaces a batch norm of ESPnet."""

    def forward(self, xs: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Normalise (B, D, T) and set padding frames of the output to zero."""
        lengths = _LENGTHS.get()
        assert lengths is not None
        return super().forward(xs.transpose(1, 2), lengths).transpose(1, 2)
