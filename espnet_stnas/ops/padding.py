"""Keeps padding out of ESPnet's layers.

ESPnet's convolutions read padding frames, which hold junk after a bias or a layer norm,
and its batch norms count them (its version 202611 zeroes them before convolutions, but
counts them as well). Here both look at valid frames only, with ESPnet's own forward
methods and parameter names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Optional

import torch

from espnet_stnas.ops.lengths import padding_mask
from espnet_stnas.ops.norm import MaskedBatchNorm

# The lengths (B,) of the batch that a layer is called with. ESPnet's layers do not pass
# them on to their convolutions. Not an attribute of a module, since the replicas that
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

    To be called once; the layer then runs in :func:`valid_lengths`.
    """
    for parent in list(layer.modules()):
        for name, module in parent.named_children():
            if isinstance(module, torch.nn.Conv1d) and module.kernel_size[0] > 1:
                module.register_forward_pre_hook(_zero_padding)
            elif isinstance(module, torch.nn.BatchNorm1d):
                setattr(parent, name, _ChannelsFirstBatchNorm(module.num_features))


def _zero_padding(module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    xs, *others = inputs  # (B, D, T)
    lengths = _LENGTHS.get()
    assert lengths is not None
    mask = padding_mask(lengths, xs.size(2)).unsqueeze(1)
    return (xs.masked_fill(mask, 0.0), *others)


class _ChannelsFirstBatchNorm(MaskedBatchNorm):
    """Masked batch norm in the place of one of ESPnet's, on (B, D, T)."""

    def forward(self, xs: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Normalise (B, D, T); padding frames of the output are zero."""
        lengths = _LENGTHS.get()
        assert lengths is not None
        return super().forward(xs.transpose(1, 2), lengths).transpose(1, 2)
