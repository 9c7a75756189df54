"""How operations run on an utterance that comes in parts.

A form of an operation is a pure function: frames and a state in, frames and the next
state out. Together, the frames that come out are those of the whole utterance. The
state is a mapping from names to tensors whose first dimension is the batch. All
utterances of a batch begin and end together.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Callable

import torch

from espnet_stnas.notation.lengths import Lengths
from espnet_stnas.notation.view import View

State = dict[str, torch.Tensor]
# Transforms frames (B, T, D) of lengths (B,) to (B, T', D'), as operations do.
Run = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class Form(ABC):
    """A part of a network, chunk by chunk.

    Args:
        width: Dimensions of an output frame.
    """

    def __init__(self, width: int) -> None:
        self.width = width

    @abstractmethod
    def start(self, like: torch.Tensor) -> State:
        """Return the state before the first frame.

        Args:
            like: Gives batch, type and device (B, ...).
        """

    @abstractmethod
    def step(
        self, xs: torch.Tensor, state: State, final: bool
    ) -> tuple[torch.Tensor, State]:
        """Transform the next frames.

        Args:
            xs: Frames (B, T, D); T may be 0.
            state: The state after the frames before; it is not changed.
            final: Whether the utterances end with these frames.

        Returns:
            All frames (B, T', D') that are certain now and were not returned before,
            and the next state.
        """


class Pointwise(Form):
    """Frames that depend on one input frame each.

    Args:
        run: Transforms frames.
        width: Dimensions of an output frame.
    """

    def __init__(self, run: Run, width: int) -> None:
        super().__init__(width)
        self.run = run

    def start(self, like: torch.Tensor) -> State:
        """Return no state; see :class:`Form`."""
        return {}

    def step(
        self, xs: torch.Tensor, state: State, final: bool
    ) -> tuple[torch.Tensor, State]:
        """Transform frames (B, T, D) at once; see :class:`Form`."""
        if xs.size(1) == 0:
            return xs.new_zeros(xs.size(0), 0, self.width), {}
        return self.run(xs, _lengths(xs))[0], {}


class Window(Form):
    """Frames that depend on limited numbers of frames before and after them.

    The state has the input frames that further output frames depend on, and how many
    frames there were (B,). Output frames wait for the input frames that they depend on.
    Input frames of the state are transformed again: this costs time, and needs to know
    nothing of what is inside of the operation.

    Args:
        run: Transforms frames. It may treat the first and the last frame of an
            utterance in its own way.
        sizes: Dimensions of an input frame and of an output frame.
        view: The frames that an output frame depends on.
        lengths: The number of output frames of an utterance.
    """

    def __init__(
        self, run: Run, sizes: tuple[int, int], view: View, lengths: Lengths
    ) -> None:
        super().__init__(sizes[1])
        self.run = run
        self.input_width = sizes[0]
        self.left, self.right = int(-view.first.shift), int(view.last.shift)
        self.chunk, self.stride = view.last.chunk, view.stride
        self.lengths = lengths

    def start(self, like: torch.Tensor) -> State:
        """Return no frames; see :class:`Form`."""
        batch = like.size(0)
        seen = torch.zeros(batch, dtype=torch.long, device=like.device)
        return {"frames": like.new_zeros(batch, 0, self.input_width), "seen": seen}

    def _certain(self, seen: int) -> int:
        """Return how many output frames do not depend on further frames."""
        whole = seen // self.chunk * self.chunk
        return max(0, (whole - 1 - self.right) // self.stride + 1)

    def _first(self, output: int) -> int:
        """Return the first input frame that this output frame needs, or one before.

        Chunks and strides count from there as from the start of the utterance.
        """
        unit = math.lcm(self.chunk, self.stride)
        return max(0, output * self.stride - self.left) // unit * unit

    def step(
        self, xs: torch.Tensor, state: State, final: bool
    ) -> tuple[torch.Tensor, State]:
        """Transform the state's frames and new ones (B, T, D); see :class:`Form`."""
        before = int(state["seen"][0])
        seen = before + xs.size(1)
        done = self._certain(before)
        ready = max(done, self.lengths(seen)) if final else self._certain(seen)
        first = self._first(done)
        frames = torch.cat([state["frames"], xs], dim=1)
        ys = xs.new_zeros(xs.size(0), 0, self.width)
        if ready > done:
            place = first // self.stride
            ys = self.run(frames, _lengths(frames))[0][:, done - place : ready - place]
        kept = frames[:, self._first(ready) - first :]
        return ys, {"frames": kept, "seen": state["seen"] + xs.size(1)}


class Sequential(Form):
    """Several parts, one after the other.

    Args:
        parts: The parts.
    """

    def __init__(self, parts: Sequence[Form]) -> None:
        super().__init__(parts[-1].width)
        self.parts = parts

    def start(self, like: torch.Tensor) -> State:
        """Return the states of all parts (B, ...) under their numbers from 0."""
        return joined_states(
            {str(k): part.start(like) for k, part in enumerate(self.parts)}
        )

    def step(
        self, xs: torch.Tensor, state: State, final: bool
    ) -> tuple[torch.Tensor, State]:
        """Pass frames (B, T, D) through the parts; see :class:`Form`."""
        states = {}
        for k, part in enumerate(self.parts):
            xs, states[str(k)] = part.step(xs, part_of_state(state, str(k)), final)
        return xs, joined_states(states)


class Sum(Form):
    """y = body(x) + shortcut(x); the one that is ahead waits for the other.

    Args:
        body: One part.
        shortcut: The other part.
    """

    def __init__(self, body: Form, shortcut: Form) -> None:
        super().__init__(body.width)
        self.parts = {"body": body, "shortcut": shortcut}

    def start(self, like: torch.Tensor) -> State:
        """Return the states (B, ...) of both, and no waiting frames."""
        nothing = like.new_zeros(like.size(0), 0, self.width)
        return joined_states(
            {
                name: {**part.start(like), "waiting": nothing}
                for name, part in self.parts.items()
            }
        )

    def step(
        self, xs: torch.Tensor, state: State, final: bool
    ) -> tuple[torch.Tensor, State]:
        """Transform frames (B, T, D) and add what both have; see :class:`Form`."""
        found, states = {}, {}
        for name, part in self.parts.items():
            own = part_of_state(state, name)
            waiting = own.pop("waiting")
            ys, states[name] = part.step(xs, own, final)
            found[name] = torch.cat([waiting, ys], dim=1)
        count = min(ys.size(1) for ys in found.values())
        for name, ys in found.items():
            states[name]["waiting"] = ys[:, count:]
        total = found["body"][:, :count] + found["shortcut"][:, :count]
        return total, joined_states(states)


def _lengths(xs: torch.Tensor) -> torch.Tensor:
    """Return the lengths (B,) of frames (B, T, D) without padding."""
    return torch.full((xs.size(0),), xs.size(1), device=xs.device)


def part_of_state(state: State, name: str) -> State:
    """Return the state of a part (any shape)."""
    return {
        key.removeprefix(f"{name}."): value
        for key, value in state.items()
        if key.startswith(f"{name}.")
    }


def joined_states(states: dict[str, State]) -> State:
    """Return the states of parts (any shape) as one."""
    return {
        f"{name}.{key}": value
        for name, state in states.items()
        for key, value in state.items()
    }
