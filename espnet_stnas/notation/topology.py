"""How layers are wired: chains, residual blocks, bidirectional blocks. No torch.

The layers of a search space are a flat list. Nodes say how data flow through it: a node
is the index of a layer, or a block of further nodes. So all that counts or names layers
need not know of blocks, and all that follows data through them is an :class:`Algebra`.
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
    """A place for an operation: its candidates, one if it is fixed.

    Args:
        candidates: The candidate operations.
        group: Choices of one group are one decision; None: a decision of its own.
        place: Where it stands in the notation, such as ``layers[3]: residual:
            body[2]``; no part of what the layer is.
    """

    candidates: tuple[OpSpec, ...]
    group: Optional[str] = None
    place: str = field(default="", compare=False)

    @property
    def is_choice(self) -> bool:
        """Whether the search decides this layer."""
        return len(self.candidates) > 1

    def to_conf(self) -> Any:
        """The notation of this layer: plain containers only."""
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
    """Two branches side by side, the second over the reversed utterance.

    Their outputs are concatenated; the second is reversed again before. Operations in
    them have half the width by default.

    Args:
        ahead: Nodes of the branch over the utterance as it is.
        back: Nodes of the branch over the reversed utterance.
    """

    ahead: tuple[Node, ...]
    back: tuple[Node, ...]


Node = Union[int, Residual, Bidirectional]


class Algebra(ABC, Generic[T]):
    """What layers and blocks mean to somebody: a T for each, made of those inside.

    T is a figure, a drawing, or a function of what flows in. See :func:`fold`.
    """

    @abstractmethod
    def layer(self, index: int) -> T:
        """The meaning of the layer of an index."""

    @abstractmethod
    def chain(self, parts: Sequence[T]) -> T:
        """The meaning of at least one part, from input to output."""

    @abstractmethod
    def residual(self, body: T, shortcut: T) -> T:
        """The meaning of the sum of what a body and a shortcut make of one input."""

    @abstractmethod
    def bidirectional(self, ahead: T, back: T) -> T:
        """The meaning of two branches side by side; see :class:`Bidirectional`."""


def fold(nodes: Sequence[Node], algebra: Algebra[T]) -> T:
    """The meaning of a chain of nodes.

    This is the only place that knows which kinds of nodes there are. Layers come in the
    order of the flat list.

    Args:
        nodes: How data flow through layers.
        algebra: What layers and blocks mean.
    """
    return algebra.chain([_fold(node, algebra) for node in nodes])


def _fold(node: Node, algebra: Algebra[T]) -> T:
    if isinstance(node, Residual):
        body = fold(node.body, algebra)
        return algebra.residual(body, algebra.layer(node.shortcut))
    if isinstance(node, Bidirectional):
        ahead = fold(node.ahead, algebra)
        return algebra.bidirectional(ahead, fold(node.back, algebra))
    return algebra.layer(node)


def nodes_to_conf(nodes: Sequence[Node], layers: Sequence[Layer]) -> list[Any]:
    """The notation of some nodes."""
    return fold(nodes, _Notation(layers))


class _Notation(Algebra[Any]):
    """The notation of layers and blocks: plain containers only."""

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


def layer_name(layers: Sequence[Layer], index: int) -> str:
    """A layer by its number, and by its place where that counts otherwise.

    Args:
        layers: All layers.
        index: Which one, from 0.

    Returns:
        Such as ``layer 3``, or ``layer 5 (layers[3]: residual: body[2])``.
    """
    number, place = index + 1, layers[index].place
    if place in ("", f"layers[{number}]"):
        return f"layer {number}"
    return f"layer {number} ({place})"
