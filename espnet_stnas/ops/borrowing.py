"""Weights that an operation takes, in each forward, from larger shared ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch


def take_slice(
    weight: torch.Tensor, shape: torch.Size, parts: int = 1, first: int = 0
) -> torch.Tensor:
    """Return the slice of a shared weight that an operation uses.

    Of outputs and inputs (the first two dimensions), the slice has the first ones; of
    kernels (further dimensions), those from ``first`` on. Weights of equal size but
    another shape, as with other numbers of attention heads, are the same numbers.

    Args:
        weight: Shared weight (any shape).
        shape: Shape of the operation's weight.
        parts: Number of equal parts that are stacked along the first dimension, such as
            the two halves of a gated layer. The slice has the first rows of each part.
        first: The tap of the shared kernel that is the first one of the operation.

    >>> kernel = torch.arange(5.0).view(1, 1, 5)
    >>> take_slice(kernel, torch.Size((1, 1, 3)), first=1).flatten().tolist()
    [1.0, 2.0, 3.0]
    """
    if weight.shape == shape:
        return weight
    if weight.numel() == shape.numel():
        return weight.view(shape)
    if parts > 1:
        stacked = weight.unflatten(0, (parts, -1))
        # With the stack in front, rows are dimension 1, and kernels begin behind it.
        rows = stacked[:, : shape[0] // parts].flatten(0, 1)
        return take_slice(rows, shape, first=first)
    index = []
    for dimension, wanted in enumerate(shape):
        start = first if dimension >= 2 else 0
        index.append(slice(start, start + wanted))
    return weight[tuple(index)]


def taps_before(module: torch.nn.Module, weight: torch.Tensor) -> int:
    """Return the taps of a kernel before the present frame; 0 if it is a matrix.

    Kernels that are not symmetric have an attribute ``taps_before`` on their module.
    Aligned by the present frame, kernels of all sides share their taps.

    Args:
        module: The module that has the weight.
        weight: The weight (any shape).
    """
    if weight.dim() < 3:
        return 0
    return int(getattr(module, "taps_before", (weight.size(-1) - 1) // 2))


class _Slot(NamedTuple):
    """A weight of an operation that is a slice of a shared one."""

    path: str
    module: torch.nn.Module
    name: str
    source: torch.nn.Parameter
    shape: torch.Size
    parts: int
    first: int

    def value(self) -> torch.Tensor:
        return self.slice_of(self.source)

    def slice_of(self, weight: torch.Tensor) -> torch.Tensor:
        return take_slice(weight, self.shape, self.parts, self.first)


class Borrowing:
    """The weights that an operation takes from shared ones in each forward.

    Args:
        operation: The operation; it loses its own parameters of these names.
        shared: Holds the shared parameters under the same names.
        stacked_parts: Name of a weight -> number of parts; see :func:`take_slice`.
    """

    def __init__(
        self,
        operation: torch.nn.Module,
        shared: torch.nn.Module,
        stacked_parts: Callable[[str], int],
    ) -> None:
        self.shared = shared
        self._slots: list[_Slot] = []
        for name in [name for name, _ in shared.named_parameters()]:
            weight = operation.get_parameter(name)
            path, _, last = name.rpartition(".")
            module = operation.get_submodule(path)
            source, parts = shared.get_parameter(name), stacked_parts(name)
            before = taps_before(shared.get_submodule(path), source)
            first = before - taps_before(module, weight)
            self._slots.append(
                _Slot(name, module, last, source, weight.shape, parts, first)
            )
            del module._parameters[last]
        operation.register_forward_pre_hook(self._lend)
        operation.register_forward_hook(self._take_back, always_call=True)

    def first_tap(self, name: str) -> int:
        """Return the tap of a shared kernel that is the first one of the operation.

        Args:
            name: Name of the kernel.
        """
        return next(slot.first for slot in self._slots if slot.path == name)

    def slices(self, shared: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return copies of the operation's slices (any shape), by name.

        Args:
            shared: Shared weights by their names, of this choice or of a checkpoint.
        """
        return {
            slot.path: slot.slice_of(shared[slot.path]).detach().clone()
            for slot in self._slots
        }

    def _lend(self, *_: Any) -> None:
        for slot in self._slots:
            setattr(slot.module, slot.name, slot.value())

    def _take_back(self, *_: Any) -> None:
        # Slices belong to one graph, and modules with other tensors than parameters
        # cannot be copied.
        for slot in self._slots:
            delattr(slot.module, slot.name)
