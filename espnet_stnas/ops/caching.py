"""Keeps the past of convolutions and attention inside of ESPnet's layers.

Hooks of these parts ask :func:`active_cache` whether the layer runs on a part of an
utterance. If so, they put frames of the state in front of their input.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Optional

import torch

from espnet_stnas.ops.streaming import State


class Cache:
    """The frames that parts of a layer keep for the next call.

    Args:
        state: The frames of the last call (B, ...), by the names of the parts.
    """

    def __init__(self, state: State) -> None:
        self.before = state
        self.after: State = {}

    def extended(
        self, name: str, frames: torch.Tensor, keep: int, dim: int
    ) -> torch.Tensor:
        """Put the kept frames in front of new ones, and keep the last ones.

        Args:
            name: Name of the part.
            frames: New frames (B, T, D) or (B, D, T).
            keep: The most frames to keep.
            dim: The dimension of T.

        Returns:
            More frames, in the same form.
        """
        longer = torch.cat([self.before[name], frames], dim=dim)
        count = longer.size(dim)
        kept = min(keep, count)
        self.after[name] = longer.narrow(dim, count - kept, kept)
        return longer

    def valid(self, past: int, mask: torch.Tensor) -> torch.Tensor:
        """Return which frames in front of a mask (B, 1, T) are valid: all.

        Args:
            past: Their number P.
            mask: The mask of the new frames, true where valid.

        Returns:
            Boolean mask (B, 1, P).
        """
        return mask.new_ones(*mask.shape[:2], past)


_CACHE: ContextVar[Optional[Cache]] = ContextVar("cache", default=None)


def active_cache() -> Optional[Cache]:
    """Return the cache, if the layer runs on a part of an utterance."""
    return _CACHE.get()


@contextmanager
def caching(cache: Cache) -> Iterator[Cache]:
    """Let the parts of a layer go on from what a cache has."""
    token = _CACHE.set(cache)
    try:
        yield cache
    finally:
        _CACHE.reset(token)
