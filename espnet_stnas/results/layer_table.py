"""A table row for each layer of an architecture or a search space. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from espnet_stnas.notation.reach import View, layer_views
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import runner_up


@dataclass(frozen=True)
class LayerRow:
    """The table row of one layer.

    Args:
        number: Number of the layer, from 1.
        ops: The operation, or all candidates of a choice.
        width: Dimensions of an output frame, if known.
        skip: Whether the layer has a skip connection around it.
        view: The input frames that an output frame depends on.
        parameters: Number of parameters of each of ``ops``, if known.
        pi: The probabilities of all candidates, if a search chose the operation.
    """

    number: int
    ops: tuple[str, ...]
    width: Optional[int]
    skip: bool
    view: View
    parameters: Optional[tuple[int, ...]] = None
    pi: Optional[Mapping[str, float]] = None

    @property
    def op(self) -> str:
        """The operations as one string."""
        return " | ".join(self.ops)

    @property
    def probability(self) -> Optional[float]:
        """The probability of the chosen operation, if known."""
        return None if self.pi is None else self.pi.get(self.ops[0])

    @property
    def next_best(self) -> Optional[tuple[str, float]]:
        """The best candidate other than the chosen one, if known."""
        if self.pi is None or self.ops[0] not in self.pi or len(self.pi) < 2:
            return None
        return runner_up(self.pi, self.ops[0])

    @property
    def seen(self) -> str:
        """The receptive field in words."""
        return field_in_words(self.view)

    @property
    def size(self) -> str:
        """The number of parameters in words; empty if not known."""
        if self.parameters is None:
            return ""
        least, most = min(self.parameters), max(self.parameters)
        return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def layer_rows(
    space: SearchSpace,
    *,
    pis: Optional[Sequence[Optional[Mapping[str, float]]]] = None,
    input_size: Optional[int] = None,
    parameters: Optional[Sequence[Sequence[int]]] = None,
) -> list[LayerRow]:
    """Return a row for each layer of an architecture or a search space.

    Args:
        space: The architecture or search space.
        pis: For each layer, the probabilities of its candidates, or None.
        input_size: Dimensions of an input frame, if known.
        parameters: For each layer, the number of parameters of each candidate, if
            known.

    Raises:
        ConfigError: If sizes do not fit together.
    """
    shapes = None if input_size is None else space.shapes(input_size)
    rows = []
    for index, (layer, view) in enumerate(
        zip(space.layers, layer_views(space), strict=True)
    ):
        rows.append(
            LayerRow(
                number=index + 1,
                ops=tuple(str(op) for op in layer.candidates),
                width=shapes[index].output_width if shapes else None,
                skip=shapes[index].skip if shapes else False,
                view=view,
                parameters=tuple(parameters[index]) if parameters else None,
                pi=pis[index] if pis else None,
            )
        )
    return rows


def architecture_rows(
    architecture: Architecture, parameters: Optional[Sequence[Sequence[int]]] = None
) -> list[LayerRow]:
    """Return a row for each layer of an architecture, with its probabilities.

    Args:
        architecture: The architecture.
        parameters: For each layer, the number of parameters of its operation, if known.
    """
    return layer_rows(
        architecture.space,
        pis=architecture.decisions(),
        input_size=architecture.provenance.input_size,
        parameters=parameters,
    )


def field_in_words(view: View) -> str:
    """Describe a receptive field, such as ``21 frames``."""
    if math.isfinite(view.left + view.right):
        return f"{view.left + view.right + 1:.0f} frames"
    if math.isfinite(view.right):
        return f"all frames before and {view.right:.0f} after"
    if math.isfinite(view.left):
        return f"{view.left:.0f} frames before and all after"
    return "the whole utterance"
