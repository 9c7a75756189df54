"""Counted costs: parameters and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from espnet_stnas.cost.table import CostTable
from espnet_stnas.errors import ConfigError
from espnet_stnas.network.network import NetworkLayer, check_size
from espnet_stnas.notation.family import MAX_SIZE
from espnet_stnas.notation.shapes import LayerShape
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.notation.topology import Algebra, fold
from espnet_stnas.ops import build_operation

# torch's counter does not know some kernels of recurrent layers.
_RECURRENT = (torch.nn.LSTM, torch.nn.GRU)


@lru_cache(maxsize=16)
def parameter_table(space: SearchSpace, input_size: int) -> CostTable:
    """Count the encoder's parameters for all architectures of a space.

    Args:
        space: A search space or an architecture.
        input_size: Dimensions of an input frame.

    Raises:
        ConfigError: If sizes do not fit together, or are too large.
    """
    return CostTable.from_layers("params", space, layer_parameters(space, input_size))


@lru_cache(maxsize=16)
def layer_parameters(
    space: SearchSpace, input_size: int
) -> tuple[tuple[int, ...], ...]:
    """Return, for each layer, the number of parameters of each candidate.

    Args:
        space: A search space or an architecture.
        input_size: Dimensions of an input frame.

    Raises:
        ConfigError: If sizes do not fit together, or are too large.
    """
    check_size(space, input_size)
    counts = []
    with torch.device("meta"):
        for layer, shape in zip(space.layers, space.shapes(input_size), strict=True):
            built = NetworkLayer(layer, shape, space)
            counts.append(
                tuple(
                    sum(p.numel() for p in op.parameters()) for op in built.operations
                )
            )
    return tuple(counts)


@lru_cache(maxsize=16)
def macs_table(space: SearchSpace, input_size: int, frames: int) -> CostTable:
    """Count the multiply-accumulates for one utterance, for all architectures.

    Every operation runs once on an utterance of the length at its layer. Only products
    of matrices and convolutions count, as in torch's FlopCounterMode (which counts two
    operations for each multiply-accumulate). Norms, activations, sums and masks do not.

    Args:
        space: A search space or an architecture.
        input_size: Dimensions of an input frame.
        frames: Length of the utterance in frames.

    Raises:
        ConfigError: If sizes do not fit together, or the utterance is too short.
    """
    check_size(space, input_size)
    lengths = layer_lengths(space, frames)
    known: dict[tuple[OpSpec, int, int, int], int] = {}

    def macs(op: OpSpec, shape: LayerShape, length: int) -> int:
        key = (op, shape.input_width, shape.width, length)
        if key not in known:
            built = build_operation(op, shape.input_width, shape.width, 0.0).eval()
            known[key] = count_macs(built, shape.input_width, length)
        return known[key]

    # Counting costs must not change the random numbers of a search.
    with torch.random.fork_rng(devices=[]):
        costs = [
            [macs(op, shape, length) for op in layer.candidates]
            for layer, shape, length in zip(
                space.layers, space.shapes(input_size), lengths, strict=True
            )
        ]
    return CostTable.from_layers("macs", space, costs)


@torch.no_grad()
def count_macs(module: torch.nn.Module, input_width: int, frames: int) -> int:
    """Count the multiply-accumulates of an operation or a network for one utterance.

    Recurrent layers count by formula: each weight matrix once per frame.

    Args:
        module: Takes frames (1, T, D) and lengths (1,).
        input_width: Dimensions D of an input frame.
        frames: Number of input frames T.
    """
    counter = FlopCounterMode(display=False)
    before: list[int] = []
    corrections: list[int] = []

    def enter(*_: Any) -> None:
        before.append(counter.get_total_flops())

    def leave(rnn: torch.nn.RNNBase, inputs: tuple[Any, ...], _: Any) -> None:
        seen = counter.get_total_flops() - before.pop()
        packed = inputs[0]
        values = packed.data if hasattr(packed, "batch_sizes") else packed
        weights = sum(p.numel() for p in rnn.parameters() if p.dim() == 2)
        own = 2 * weights * (values.numel() // values.size(-1))
        corrections.append(own - seen)

    handles = []
    for part in module.modules():
        if isinstance(part, _RECURRENT):
            handles.append(part.register_forward_pre_hook(enter))
            handles.append(part.register_forward_hook(leave))
    try:
        with counter:
            module(torch.zeros(1, frames, input_width), torch.tensor([frames]))
    finally:
        for handle in handles:
            handle.remove()
    return (counter.get_total_flops() + sum(corrections)) // 2


def layer_lengths(space: SearchSpace, frames: int) -> tuple[int, ...]:
    """Return the number of input frames of each layer.

    Args:
        space: A search space or an architecture.
        frames: Length of an utterance in frames.

    Raises:
        ConfigError: If it is out of range, or too short for one frame at every layer.
    """
    if type(frames) is not int or not 1 <= frames <= MAX_SIZE:
        raise ConfigError(
            f"frames is {frames!r}; accepted is an integer from 1 to {MAX_SIZE}"
        )
    lengths = _Lengths(space)
    fold(space.nodes, lengths)(frames)
    return tuple(lengths.found[index] for index in range(len(space.layers)))


class _Lengths(Algebra[Callable[[int], int]]):
    """Follows the number of frames through layers and stores each layer's input."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.found: dict[int, int] = {}

    def layer(self, index: int) -> Callable[[int], int]:
        def length(frames: int) -> int:
            self.found[index] = frames
            # All candidates of a choice agree on it.
            left = self.space.layers[index].candidates[0].output_length(frames)
            if left < 1:
                raise ConfigError(
                    f"{self.space.layer_name(index)} leaves nothing of {frames} "
                    "frames; give frames, the length of the utterance whose cost "
                    "counts, as more"
                )
            return left

        return length

    def chain(self, parts: Sequence[Callable[[int], int]]) -> Callable[[int], int]:
        return lambda frames: reduce(lambda n, part: part(n), parts, frames)

    def residual(
        self, body: Callable[[int], int], shortcut: Callable[[int], int]
    ) -> Callable[[int], int]:
        return self.bidirectional(shortcut, body)

    def bidirectional(
        self, ahead: Callable[[int], int], back: Callable[[int], int]
    ) -> Callable[[int], int]:
        def length(frames: int) -> int:
            # Both give the same length; both run to store the lengths of all layers.
            back(frames)
            return ahead(frames)

        return length

    def cell(
        self,
        bodies: Sequence[Callable[[int], int]],
        skips: Sequence[Sequence[Callable[[int], int]]],
    ) -> Callable[[int], int]:
        def length(frames: int) -> int:
            points = [frames]
            for body, own in zip(bodies, skips, strict=True):
                for point, skip in zip(points, own, strict=True):
                    skip(point)
                points.append(body(points[-1]))
            return points[-1]

        return length
