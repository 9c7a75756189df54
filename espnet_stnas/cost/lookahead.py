"""Look-ahead as a cost: how long an encoder waits for what is said later."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch

from espnet_stnas.cost.table import CostTable
from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.reach import FRAME_SHIFT, narrowest_view, view_of
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.notation.topology import Algebra, fold


@dataclass(frozen=True)
class LookAheadTable(CostTable):
    """The look-ahead of all architectures of a space, in milliseconds.

    Convolutions add up along the path, each at the frame rate of its layer. Chunks of
    attention do not: those of all layers end together, so the longest chunk counts. The
    expected cost is the sum of the former and the expected maximum of the latter. The
    cost of one architecture is exact, and so are the bounds.

    Args:
        kind: ``lookahead``.
        fixed: What fixed layers add.
        choices: For each choice, what each candidate adds.
        space: The search space.
        frame_shift: Milliseconds from one input frame to the next.
        fixed_chunk: The longest chunk of fixed layers, in milliseconds after its first
            frame; 0 without one.
        chunks: For each choice, the chunk of each candidate.
    """

    space: SearchSpace
    frame_shift: float
    fixed_chunk: float
    chunks: tuple[tuple[float, ...], ...]

    def of(self, indices: Sequence[int]) -> float:
        """Return the look-ahead of the architecture with these candidate indices."""
        return view_of(self.space.resolve(indices)).right * self.frame_shift

    def expected_cost(self, pi: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the expected look-ahead () in float64.

        Args:
            pi: The probabilities of all choices, in order: (K_1,), (K_2,), ...
        """
        total = super().expected_cost(pi)
        values = {self.fixed_chunk, *(c for chunk in self.chunks for c in chunk)}
        before = torch.zeros_like(total)
        for value in sorted(v for v in values if v >= self.fixed_chunk):
            # The probability that no chunk is longer.
            shares = [
                p.double()[[c <= value for c in chunk]].sum()
                for chunk, p in zip(self.chunks, pi, strict=True)
            ]
            within = reduce(torch.mul, shares, torch.ones_like(total))
            total = total + value * (within - before)
            before = within
        return total

    @property
    def minimum(self) -> float:
        """The look-ahead of the architecture with the shortest one."""
        return narrowest_view(self.space).right * self.frame_shift

    @property
    def maximum(self) -> float:
        """The look-ahead of the architecture with the longest one."""
        return view_of(self.space).right * self.frame_shift


def look_ahead_table(
    space: SearchSpace, frame_shift: float = FRAME_SHIFT
) -> LookAheadTable:
    """Return the look-ahead of all architectures of a space.

    Args:
        space: A search space or an architecture.
        frame_shift: Milliseconds from one input frame to the next.

    Raises:
        ConfigError: If a candidate sees the whole utterance.
    """
    walk = _Walk(space)
    fold(space.nodes, walk)(frame_shift, False)
    costs = [walk.found[index] for index in range(len(space.layers))]
    added = CostTable.from_layers(
        "lookahead", space, [[a for a, _ in layer] for layer in costs]
    )
    fixed_chunk = 0.0
    chunks = [[0.0] * len(choice.candidates) for choice in space.choices]
    for number, layer in zip(space.choice_numbers, costs, strict=True):
        if number is None:
            fixed_chunk = max(fixed_chunk, layer[0][1])
        else:
            pairs = zip(chunks[number], layer, strict=True)
            chunks[number] = [max(known, own) for known, (_, own) in pairs]
    return LookAheadTable(
        *("lookahead", added.fixed, added.choices, space, frame_shift),
        *(fixed_chunk, tuple(map(tuple, chunks))),
    )


# (milliseconds between input frames, whether time is reversed) -> those of its output
_Step = Callable[[float, bool], float]


class _Walk(Algebra[_Step]):
    """Stores what each candidate adds, and its chunk, at the place of its layer."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.found: dict[int, list[tuple[float, float]]] = {}

    def layer(self, index: int) -> _Step:
        candidates = self.space.layers[index].candidates

        def step(shift: float, mirrored: bool) -> float:
            frames = [self._frames(index, op, mirrored) for op in candidates]
            self.found[index] = [(added * shift, c * shift) for added, c in frames]
            return shift * candidates[0].stride

        return step

    def _frames(self, index: int, op: OpSpec, mirrored: bool) -> tuple[float, int]:
        view = op.view
        ahead, edge = (view.left, view.first) if mirrored else (view.right, view.last)
        if math.isinf(ahead):
            raise ConfigError(
                f"'{op}' in {self.space.layer_name(index)} looks ahead to the end of "
                "the utterance, which has no length in ms; accepted are operations "
                "with a limited look-ahead, such as attention in chunks"
            )
        return ahead - (edge.chunk - 1), edge.chunk - 1

    def chain(self, parts: Sequence[_Step]) -> _Step:
        def step(shift: float, mirrored: bool) -> float:
            for part in parts:
                shift = part(shift, mirrored)
            return shift

        return step

    def residual(self, body: _Step, shortcut: _Step) -> _Step:
        def step(shift: float, mirrored: bool) -> float:
            shortcut(shift, mirrored)
            return body(shift, mirrored)

        return step

    def cell(self, bodies: Sequence[_Step], skips: Sequence[Sequence[_Step]]) -> _Step:
        def step(shift: float, mirrored: bool) -> float:
            points = [shift]
            for body, own in zip(bodies, skips, strict=True):
                for point, skip in zip(points, own, strict=True):
                    skip(point, mirrored)
                points.append(body(points[-1], mirrored))
            return points[-1]

        return step

    def bidirectional(self, ahead: _Step, back: _Step) -> _Step:
        def step(shift: float, mirrored: bool) -> float:
            back(shift, not mirrored)
            return ahead(shift, mirrored)

        return step
