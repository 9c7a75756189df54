"""Weights that the candidates of one choice share (weight entanglement).

Candidates of one family take slices of common weights: the taps of one kernel around
the present frame, the first rows and columns of one matrix, as in once-for-all (Cai et
al. 2020, arXiv:1908.09791) and AutoFormer (Chen et al. 2021, arXiv:2107.00651). So a
weight step of one candidate also trains the others. Dilations and strides have no
weights of their own, so candidates that differ in them alone share all their kernels
and matrices. Biases and norms stay with their candidate: they are few, and supernets
rank better so (benchmarks/tables).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch

from espnet_stnas.notation.spec import ChainSpec, OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.borrowing import Borrowing, take_slice, taps_before


def share_weights(operations: Sequence[Operation]) -> torch.nn.ModuleList:
    """Let candidates of one family share their weights.

    Operations of groups with more than one member lose their own kernels and matrices
    and take slices of the shared ones in each forward. Vectors (biases, norms) and
    buffers (running statistics of batch norms) stay with their operation. The largest
    member of a group gives the shared weights their first values.

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
            member.borrowing = Borrowing(member, holder, member.stacked_parts)
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


def _kind(spec: OpSpec) -> Hashable:
    """Return what candidates must have in common to share weights."""
    if isinstance(spec, ChainSpec):
        return tuple(_kind(part) for part in spec.parts)
    shared = spec.family.shared_options
    return spec.op, tuple(
        value for name, value in spec.options.items() if name not in shared
    )


def _largest(members: Sequence[Operation]) -> list[_Weight]:
    """Return weights that are large enough for all members, with first values."""
    by_size = sorted(members, key=lambda m: sum(p.numel() for p in m.parameters()))
    found = []
    for own in zip(*map(_weights, by_size), strict=True):
        value, before = _large_enough(own)
        for weight in own:
            first = before - weight.before
            part = take_slice(value, weight.value.shape, weight.parts, first)
            part.copy_(weight.value)
        found.append(own[0]._replace(value=value, before=before))
    return found


def _large_enough(weights: Sequence[_Weight]) -> tuple[torch.Tensor, int]:
    """Return zeros (any shape) that hold all weights, and the taps before."""
    values = [weight.value for weight in weights]
    before = max(weight.before for weight in weights)
    shape = values[-1].shape
    if len(shape) > 2 or any(v.numel() != shape.numel() for v in values):
        sizes = [max(sizes) for sizes in zip(*(v.shape for v in values), strict=True)]
        if len(shape) > 2:
            after = max(w.value.size(-1) - w.before for w in weights)
            sizes[-1] = before + after
        shape = torch.Size(sizes)
    return values[-1].new_zeros(shape), before


def _hold(weights: Sequence[_Weight]) -> torch.nn.Module:
    """Return a module that has the weights as parameters."""
    holder = torch.nn.Module()
    for weight in weights:
        *path, last = weight.name.split(".")
        module = holder
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(last, torch.nn.Parameter(weight.value))
        module.taps_before = weight.before  # type: ignore[assignment]
    return holder


class _Weight(NamedTuple):
    """A kernel or matrix: name, value, stacked parts, taps before the present frame."""

    name: str
    value: torch.Tensor
    parts: int
    before: int


def _weights(operation: Operation) -> list[_Weight]:
    """Return the kernels and matrices of an operation."""
    found = []
    for name, weight in operation.named_parameters():
        if weight.dim() > 1:
            module = operation.get_submodule(name.rpartition(".")[0])
            before = taps_before(module, weight)
            parts = operation.stacked_parts(name)
            found.append(_Weight(name, weight.detach(), parts, before))
    return found
