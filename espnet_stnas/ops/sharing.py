"""Weights that the candidates of one choice share (weight entanglement).

Candidates of one family take slices of common weights: the middle taps of one kernel,
the first rows and columns of one matrix, as in once-for-all (Cai et al. 2020,
arXiv:1908.09791) and AutoFormer (Chen et al. 2021, arXiv:2107.00651). So a weight step
of one candidate also trains the others. Dilations and strides have no weights of their
own, so candidates that differ in them alone share all their weights.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from espnet_stnas.notation.spec import ChainSpec, OpSpec
from espnet_stnas.ops.base import Operation


class _Slot(NamedTuple):
    """A weight of an operation that is a slice of a shared one."""

    path: str
    module: torch.nn.Module
    name: str
    source: torch.nn.Parameter
    shape: torch.Size
    parts: int

    def value(self) -> torch.Tensor:
        return self.slice_of(self.source)

    def slice_of(self, weight: torch.Tensor) -> torch.Tensor:
        return take_slice(weight, self.shape, self.parts)


class Borrowing:
    """The weights that an operation takes from shared ones in each forward.

    Args:
        operation: The operation; it loses its own parameters.
        shared: Holds the shared parameters under the same names.
    """

    def __init__(self, operation: Operation, shared: torch.nn.Module) -> None:
        self.shared = shared
        self._slots: list[_Slot] = []
        for name, weight, parts in _weights(operation):
            path, _, last = name.rpartition(".")
            module = operation.get_submodule(path)
            source = shared.get_parameter(name)
            self._slots.append(_Slot(name, module, last, source, weight.shape, parts))
            del module._parameters[last]
        operation.register_forward_pre_hook(self._lend)
        operation.register_forward_hook(self._take_back, always_call=True)

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


def share_weights(operations: Sequence[Operation]) -> torch.nn.ModuleList:
    """Let candidates of one family share their weights.

    Operations of groups with more than one member lose their own parameters and take
    slices of the shared ones in each forward. Buffers, such as the running statistics
    of batch norms, stay with their operation. The largest member of a group gives the
    shared weights their first values.

    Args:
        operations: The candidates of one choice.

    Returns:
        The shared weights of each group, as modules without a forward.
    """
    shared = torch.nn.ModuleList()
    for group in sharing_groups([operation.spec for operation in operations]):
        members = [operations[k] for k in group]
        if any(isinstance(m, torch.nn.RNNBase) for m in members[0].modules()):
            # These keep a list of their parameters.
            continue
        holder = _hold(_largest(members))
        for member in members:
            member.borrowing = Borrowing(member, holder)
        shared.append(holder)
    return shared


def own_state(operation: Operation) -> dict[str, torch.Tensor]:
    """Return the state dict that the operation has without sharing."""
    state = dict(operation.state_dict())
    if operation.borrowing is not None:
        shared = dict(operation.borrowing.shared.named_parameters())
        state.update(operation.borrowing.slices(shared))
    return state


def sharing_groups(specs: Sequence[OpSpec]) -> list[tuple[int, ...]]:
    """Return the candidates that share weights: groups of two or more.

    Args:
        specs: The candidates of one choice.

    >>> from espnet_stnas.notation.spec import parse_op
    >>> texts = ["tdnn-C1D1", "identity", "tdnn-C2D2", "tdnn-C1D1Nbn"]
    >>> sharing_groups([parse_op(text, "layers[1]") for text in texts])
    [(0, 2)]
    """
    groups: dict[Hashable, list[int]] = {}
    for k, spec in enumerate(specs):
        groups.setdefault(_kind(spec), []).append(k)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def take_slice(weight: torch.Tensor, shape: torch.Size, parts: int = 1) -> torch.Tensor:
    """Return the slice of a shared weight that an operation uses.

    Of outputs and inputs (the first two dimensions), the slice has the first ones; of
    kernels (further dimensions), the middle. Weights of equal size but another shape,
    as with other numbers of attention heads, are the same numbers.

    Args:
        weight: Shared weight (any shape).
        shape: Shape of the operation's weight.
        parts: Number of equal parts that are stacked along the first dimension, such as
            the two halves of a gated layer. The slice has the first rows of each part.

    >>> kernel = torch.arange(5.0).view(1, 1, 5)
    >>> take_slice(kernel, torch.Size((1, 1, 3))).flatten().tolist()
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
        return take_slice(rows, shape)
    index = []
    for dimension, (size, wanted) in enumerate(zip(weight.shape, shape, strict=True)):
        start = (size - wanted) // 2 if dimension >= 2 else 0
        index.append(slice(start, start + wanted))
    return weight[tuple(index)]


def _kind(spec: OpSpec) -> Hashable:
    """Return what candidates must have in common to share weights."""
    if isinstance(spec, ChainSpec):
        return tuple(_kind(part) for part in spec.parts)
    shared = spec.family.shared_options
    return spec.op, tuple(
        value for name, value in spec.options.items() if name not in shared
    )


def _largest(members: Sequence[Operation]) -> dict[str, torch.Tensor]:
    """Return weights that are large enough for all members, with first values."""
    by_size = sorted(members, key=lambda m: sum(p.numel() for p in m.parameters()))
    found: dict[str, torch.Tensor] = {}
    for name, first, _ in _weights(by_size[-1]):
        shapes = [member.get_parameter(name).shape for member in members]
        shape = first.shape
        if any(other.numel() != shape.numel() for other in shapes):
            shape = torch.Size(max(sizes) for sizes in zip(*shapes, strict=True))
        found[name] = first.new_zeros(shape)
    for member in by_size:
        for name, weight, parts in _weights(member):
            take_slice(found[name], weight.shape, parts).copy_(weight)
    return found


def _hold(weights: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """Return a module that has the weights (any shape) as parameters."""
    holder = torch.nn.Module()
    for name, weight in weights.items():
        *path, last = name.split(".")
        module = holder
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(last, torch.nn.Parameter(weight))
    return holder


def _weights(operation: Operation) -> list[tuple[str, torch.Tensor, int]]:
    """Return name, value and number of stacked parts of each parameter."""
    return [
        (name, weight.detach(), operation.stacked_parts(name))
        for name, weight in operation.named_parameters()
    ]
