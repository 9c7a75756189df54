"""Statistics of batch norms for single paths of a supernet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(module: torch.nn.Module) -> list[_BatchNorm]:
    """Return the batch norms in a module that keep running statistics."""
    return [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm) and m.track_running_stats
    ]


class PathStatistics:
    """Statistics of batch norms, by layer and by the path up to that layer."""

    def __init__(self) -> None:
        self._found: dict[
            tuple[int, tuple[int, ...]], list[dict[str, torch.Tensor]]
        ] = {}

    def take(
        self, index: int, prefix: tuple[int, ...], module: torch.nn.Module
    ) -> None:
        """Copy the statistics of a layer.

        Args:
            index: Index of the layer.
            prefix: Candidate indices of all choices up to the layer.
            module: The layer, or its candidate.
        """
        if norms := batch_norms(module):
            self._found[index, prefix] = [_copies(norm) for norm in norms]

    def give(
        self, index: int, prefix: tuple[int, ...], module: torch.nn.Module
    ) -> None:
        """Put the statistics into a layer; see :meth:`take`.

        Raises:
            ValueError: If there are none for this path.
        """
        norms = batch_norms(module)
        if norms and (index, prefix) not in self._found:
            raise ValueError(f"the statistics lack paths that begin with {prefix}")
        for norm in norms:
            _restore(norm, self._found[index, prefix][norms.index(norm)])


@contextmanager
def kept_statistics(module: torch.nn.Module) -> Iterator[None]:
    """Give all batch norms of a module their statistics back at the end."""
    before = [(n, _copies(n), n.momentum) for n in batch_norms(module)]
    try:
        yield
    finally:
        for norm, values, momentum in before:
            _restore(norm, values)
            norm.momentum = momentum


def _copies(norm: _BatchNorm) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in norm.named_buffers()}


@torch.no_grad()
def _restore(norm: _BatchNorm, values: dict[str, torch.Tensor]) -> None:
    for name, value in norm.named_buffers():
        value.copy_(values[name])
