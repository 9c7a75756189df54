"""Runs many paths of a supernet on one batch, and common first layers only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Generic, Optional, TypeVar, Union

import torch

from espnet_stnas.estimators.base import Gate
from espnet_stnas.network.network import Frames
from espnet_stnas.notation.topology import Algebra, fold
from espnet_stnas.ops.lengths import reversed_frames
from espnet_stnas.supernet.calibration import (
    PathStatistics,
    batch_norms,
    kept_statistics,
)
from espnet_stnas.supernet.supernet import Supernet

T = TypeVar("T")
Path = tuple[int, ...]
"""One candidate index per choice."""
Stack = tuple[Frames, ...]
"""What layers still to come read: the last item is the input of the next layer."""
Step = Union[int, Callable[[Stack], Stack]]
"""The index of a layer, which replaces the last item, or another change of a stack."""


def on_paths(
    supernet: Supernet,
    paths: Sequence[Sequence[int]],
    xs_pad: torch.Tensor,
    ilens: torch.Tensor,
    use: Callable[[torch.Tensor, torch.Tensor], T],
    statistics: Optional[PathStatistics] = None,
) -> list[T]:
    """Run paths on a batch, in evaluation mode and without gradients.

    A layer runs once for all paths that agree up to it. The order is depth first, so at
    most one activation per choice (more inside blocks) is kept besides those of a
    single path.

    Args:
        supernet: The supernet; its own mode and statistics do not change.
        paths: One candidate index per choice, for each path; repeated paths run once.
        xs_pad: Frames (B, T, D); padding may hold anything.
        ilens: Valid frames (B,).
        use: Computes a result from the output frames (B, T', D') of a path, zero where
            padded, and their lengths (B,).
        statistics: Of :func:`calibrate`, for supernets with batch norm; None: the
            supernet's own running statistics, which mix those of all paths.

    Returns:
        The result of each path, in the order of ``paths``.

    Raises:
        ValueError: If a path does not fit the space, or the statistics lack it.
    """
    wanted = checked_paths(supernet, paths)
    walk = _Evaluation(supernet, use, statistics)
    with evaluation_mode(supernet), kept_statistics(supernet):
        inputs = supernet.zero_input(xs_pad, ilens), ilens
        found = walk.run(sorted(set(wanted)), [(inputs,)])
    return [found[path] for path in wanted]


def calibrate(
    supernet: Supernet,
    paths: Sequence[Sequence[int]],
    batches: Sequence[Frames],
) -> Optional[PathStatistics]:
    """Compute the statistics that the batch norms of each path see.

    The running statistics of a supernet mix the statistics of all paths. Here each path
    gets its own: the mean over the batches, each normalised by itself as in training
    (as `torch.optim.swa_utils.update_bn` does). They depend only on the path up to the
    batch norm, so paths that agree so far share them.

    Args:
        supernet: The supernet; its own mode and statistics do not change.
        paths: One candidate index per choice, for each path.
        batches: Training batches: frames (B, T, D) and their lengths (B,). All of them
            are in memory at once.

    Returns:
        The statistics; None if the supernet has no batch norm.

    Raises:
        ValueError: If a path does not fit the space, or there is no batch.
    """
    wanted = checked_paths(supernet, paths)
    if not batch_norms(supernet):
        return None
    if not batches:
        raise ValueError("batch norms need at least one batch for their statistics")
    walk = _Calibration(supernet)
    with evaluation_mode(supernet), kept_statistics(supernet):
        inputs: list[Stack] = [((supernet.zero_input(xs, n), n),) for xs, n in batches]
        walk.run(sorted(set(wanted)), inputs)
    return walk.found


def checked_paths(supernet: Supernet, paths: Sequence[Sequence[int]]) -> list[Path]:
    """Return the paths as tuples.

    Raises:
        ValueError: If a path does not fit the space of the supernet.
    """
    sizes = [len(choice.candidates) for choice in supernet.space.choices]
    found = [tuple(path) for path in paths]
    for path in found:
        if len(path) != len(sizes) or not all(
            0 <= k < size for k, size in zip(path, sizes, strict=True)
        ):
            raise ValueError(
                f"{path} is no path; accepted is one index per choice, below {sizes}"
            )
    return found


@contextmanager
def evaluation_mode(module: torch.nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and record no gradients.

    Args:
        module: The module; each part gets its own mode back.
    """
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True


class _Walk(Generic[T]):
    """Visits a tree of paths depth first, with the activations of several batches."""

    def __init__(self, supernet: Supernet) -> None:
        self.supernet = supernet
        self.segments = _segments(supernet)

    def run(self, paths: Sequence[Path], stacks: list[Stack]) -> dict[Path, T]:
        """Return what :meth:`end` makes of each path; stacks hold the inputs."""
        results: dict[Path, T] = {}
        self._visit((), paths, self._segment((), stacks), results)
        return results

    def _visit(
        self,
        prefix: Path,
        paths: Sequence[Path],
        stacks: list[Stack],
        results: dict[Path, T],
    ) -> None:
        depth = len(prefix)
        if depth == len(self.segments) - 1:
            results[prefix] = self.end(stacks)
            return
        for k in sorted({path[depth] for path in paths}):
            longer = (*prefix, k)
            those = [path for path in paths if path[depth] == k]
            self._visit(longer, those, self._segment(longer, stacks), results)

    def _segment(self, prefix: Path, stacks: list[Stack]) -> list[Stack]:
        """Run the steps between the last choice of a prefix and the next choice."""
        for step in self.segments[len(prefix)]:
            if isinstance(step, int):
                stacks = self._layer(step, prefix, stacks)
            else:
                stacks = [step(stack) for stack in stacks]
        return stacks

    def _layer(self, index: int, prefix: Path, stacks: list[Stack]) -> list[Stack]:
        layer = self.supernet.layers[index]
        number = self.supernet.space.choice_numbers[index]
        gate = () if number is None else (Gate((prefix[number],)),)
        module = layer if number is None else layer.operations[prefix[number]]  # type: ignore[index]
        self.before(index, prefix, module)  # type: ignore[arg-type]
        found = [(*stack[:-1], layer(*stack[-1], *gate)) for stack in stacks]
        self.after(index, prefix, module)  # type: ignore[arg-type]
        return found

    def before(self, index: int, prefix: Path, module: torch.nn.Module) -> None:
        """Prepare a layer whose input depends on a prefix."""

    def after(self, index: int, prefix: Path, module: torch.nn.Module) -> None:
        """Take note after such a layer."""

    def end(self, stacks: list[Stack]) -> T:
        """Return the result of a path, given its outputs."""
        raise NotImplementedError


class _Evaluation(_Walk[T]):
    def __init__(
        self,
        supernet: Supernet,
        use: Callable[[torch.Tensor, torch.Tensor], T],
        statistics: Optional[PathStatistics],
    ) -> None:
        super().__init__(supernet)
        self.use = use
        self.statistics = statistics

    def before(self, index: int, prefix: Path, module: torch.nn.Module) -> None:
        if self.statistics is not None:
            self.statistics.give(index, prefix, module)

    def end(self, stacks: list[Stack]) -> T:
        return self.use(*stacks[0][-1])


class _Calibration(_Walk[None]):
    def __init__(self, supernet: Supernet) -> None:
        super().__init__(supernet)
        self.found = PathStatistics()

    def before(self, index: int, prefix: Path, module: torch.nn.Module) -> None:
        for norm in batch_norms(module):
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.training = True

    def after(self, index: int, prefix: Path, module: torch.nn.Module) -> None:
        for norm in batch_norms(module):
            norm.training = False
        self.found.take(index, prefix, module)

    def end(self, stacks: list[Stack]) -> None:
        return None


def _segments(supernet: Supernet) -> list[list[Step]]:
    """Cut the steps of a network before the first layer of each choice."""
    segments: list[list[Step]] = [[]]
    for step in fold(supernet.space.nodes, _Steps()):
        if isinstance(step, int) and step in supernet.space.first_layers:
            segments.append([])
        segments[-1].append(step)
    return segments


class _Steps(Algebra[list[Step]]):
    """Writes the wiring of a network as steps on a stack, so that any point is a cut.

    Layers come in the order of the flat list, so choices come in order, too.
    """

    def layer(self, index: int) -> list[Step]:
        return [index]

    def chain(self, parts: Sequence[list[Step]]) -> list[Step]:
        return [step for part in parts for step in part]

    def residual(self, body: list[Step], shortcut: list[Step]) -> list[Step]:
        return [_duplicate, *body, _swap, *shortcut, _add]

    def bidirectional(self, ahead: list[Step], back: list[Step]) -> list[Step]:
        return [_duplicate, *ahead, _swap, _reverse, *back, _reverse, _join]

    def cell(
        self, bodies: Sequence[list[Step]], skips: Sequence[Sequence[list[Step]]]
    ) -> list[Step]:
        # The stack keeps the input and the output of each node.
        steps: list[Step] = []
        for body, own in zip(bodies, skips, strict=True):
            steps += [_duplicate, *body]
            for number, skip in enumerate(own):
                # The points from this one to the last, and the sum so far.
                depth = len(own) - number + 1
                steps += [partial(_copied, depth=depth), *skip, _add]
        return [*steps, partial(_without, count=len(bodies))]


def _duplicate(stack: Stack) -> Stack:
    return (*stack, stack[-1])


def _copied(stack: Stack, depth: int) -> Stack:
    return (*stack, stack[-depth])


def _without(stack: Stack, count: int) -> Stack:
    """Drop so many items below the last one."""
    return (*stack[: -count - 1], stack[-1])


def _swap(stack: Stack) -> Stack:
    return (*stack[:-2], stack[-1], stack[-2])


def _reverse(stack: Stack) -> Stack:
    xs_pad, ilens = stack[-1]
    return (*stack[:-1], (reversed_frames(xs_pad, ilens), ilens))


def _add(stack: Stack) -> Stack:
    (ys, olens), (shortcut, _) = stack[-2:]
    return (*stack[:-2], (ys + shortcut, olens))


def _join(stack: Stack) -> Stack:
    (ys, olens), (backward, _) = stack[-2:]
    return (*stack[:-2], (torch.cat([ys, backward], dim=2), olens))
