"""The wiring of layers: chains, residual and bidirectional blocks, cells. No torch.

The layers of a search space are a flat list. Nodes say how data flow through the list:
a node is the index of a layer, or a block of further nodes. So code that counts or
names layers can ignore blocks. Code that follows the data through blocks implements an
:class:`Algebra` and calls :func:`fold`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Optional, TypeVar, Union

from espnet_stnas.notation.spec import OpSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Layer:
    """A layer with its candidate operations: several for a choice, one if it is fixed.

    Args:
        candidates: The candidate operations.
        group: Layers with the same group share one choice; None: a choice of its own.
        place: Position in the notation, such as ``layers[3]: residual: body[2]``. Two
            layers that differ only in their place are equal.
    """

    candidates: tuple[OpSpec, ...]
    group: Optional[str] = None
    place: str = field(default="", compare=False)

    @property
    def is_choice(self) -> bool:
        """Whether the search decides this layer."""
        return len(self.candidates) > 1

    def to_conf(self) -> Any:
        """Return the notation of this layer, made of plain containers."""
        names = [str(op) for op in self.candidates]
        if not self.is_choice:
            return names[0]
        if self.group is None:
            return names
        return {"choice": self.group, "candidates": names}


@dataclass(frozen=True)
class Residual:
    """y = body(x) + shortcut(x).

    Args:
        body: Nodes of the body, from input to output.
        shortcut: Index of the layer that is the shortcut.
    """

    body: tuple[Node, ...]
    shortcut: int


@dataclass(frozen=True)
class Bidirectional:
    """Two parallel branches; the second one runs over the reversed utterance.

    The output of the second branch is reversed again, and both outputs are
    concatenated. By default, operations in the branches have half the width.

    Args:
        ahead: Nodes of the branch over the utterance in its own order.
        back: Nodes of the branch over the reversed utterance.
    """

    ahead: tuple[Node, ...]
    back: tuple[Node, ...]


@dataclass(frozen=True)
class Cell:
    """Nodes in a row, with skips from the input and every node to all later nodes.

    y_i = body_i(y_{i-1}) + skip_{i,0}(y_0) + ... + skip_{i,i-1}(y_{i-1}), where y_0 is
    the input, and the last y the output.

    Args:
        bodies: Nodes of each body, from input to output.
        skips: For each body, the indices of the layers that are its skips: one more
            than for the body before.
    """

    bodies: tuple[tuple[Node, ...], ...]
    skips: tuple[tuple[int, ...], ...]


Node = Union[int, Residual, Bidirectional, Cell]


class Algebra(ABC, Generic[T]):
    """Computes something about a network, part by part, in :func:`fold`.

    A subclass defines the value (of type T) of a layer, and how the value of a chain or
    a block follows from the values of its parts. T may be a number, a drawing, or a
    function that runs the part on data.

    >>> class Depth(Algebra[int]):
    ...     def layer(self, index): return 1
    ...     def chain(self, parts): return sum(parts)
    ...     def residual(self, body, shortcut): return max(body, shortcut)
    ...     def bidirectional(self, ahead, back): return max(ahead, back)
    ...     def cell(self, bodies, skips): return sum(bodies)
    >>> fold([0, Residual(body=(1, 2), shortcut=3)], Depth())
    3
    """

    @abstractmethod
    def layer(self, index: int) -> T:
        """Return the value of the layer with this index."""

    @abstractmethod
    def chain(self, parts: Sequence[T]) -> T:
        """Return the value of one or more parts in sequence, from input to output."""

    @abstractmethod
    def residual(self, body: T, shortcut: T) -> T:
        """Return the value of a block that adds body and shortcut of one input."""

    @abstractmethod
    def bidirectional(self, ahead: T, back: T) -> T:
        """Return the value of two parallel branches; see :class:`Bidirectional`."""

    @abstractmethod
    def cell(self, bodies: Sequence[T], skips: Sequence[Sequence[T]]) -> T:
        """Return the value of nodes with skips between them; see :class:`Cell`."""


def fold(nodes: Sequence[Node], algebra: Algebra[T]) -> T:
    """Compute the value of a chain of nodes.

    Only this function distinguishes the kinds of nodes. It visits layers in the order
    of the flat list. See :class:`Algebra` for an example.

    Args:
        nodes: The topology.
        algebra: Computes the values.
    """
    return algebra.chain([_fold(node, algebra) for node in nodes])


def _fold(node: Node, algebra: Algebra[T]) -> T:
    if isinstance(node, Residual):
        body = fold(node.body, algebra)
        return algebra.residual(body, algebra.layer(node.shortcut))
    if isinstance(node, Bidirectional):
        ahead = fold(node.ahead, algebra)
        return algebra.bidirectional(ahead, fold(node.back, algebra))
    if isinstance(node, Cell):
        bodies, skips = [], []
        for nodes, own in zip(node.bodies, node.skips, strict=True):
            bodies.append(fold(nodes, algebra))
            skips.append([algebra.layer(index) for index in own])
        return algebra.cell(bodies, skips)
    return algebra.layer(node)


def nodes_to_conf(nodes: Sequence[Node], layers: Sequence[Layer]) -> list[Any]:
    """Return the notation of a chain of nodes."""
    return fold(nodes, _Notation(layers))


class _Notation(Algebra[Any]):
    """Builds the notation of layers and blocks from plain containers."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers

    def layer(self, index: int) -> Any:
        return self.layers[index].to_conf()

    def chain(self, parts: Sequence[Any]) -> Any:
        return list(parts)

    def residual(self, body: Any, shortcut: Any) -> Any:
        return {"residual": {"body": body, "shortcut": shortcut}}

    def bidirectional(self, ahead: Any, back: Any) -> Any:
        return {"bidirectional": {"forward": ahead, "backward": back}}

    def cell(self, bodies: Sequence[Any], skips: Sequence[Sequence[Any]]) -> Any:
        return {"cell": {"nodes": list(bodies), "skips": [list(s) for s in skips]}}


def layer_name(layers: Sequence[Layer], index: int) -> str:
    """Return the number of a layer, and its place if the notation counts differently.

    Args:
        layers: All layers.
        index: Index of the layer, from 0.

    Returns:
        For example ``layer 3``, or ``layer 5 (layers[3]: residual: body[2])``.
    """
    number, place = index + 1, layers[index].place
    if place in ("", f"layers[{number}]"):
        return f"layer {number}"
    return f"layer {number} ({place})"
