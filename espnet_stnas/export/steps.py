"""Steps of networks, and of operations that see a window of frames."""

from __future__ import annotations

import functools
import math

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.export.encoder import IndexedDeltas
from espnet_stnas.export.layer_steps import CachedStep, ContinuedStep, CountingStep
from espnet_stnas.export.step import Part, Step, taken, zero
from espnet_stnas.ops.attention import Cached
from espnet_stnas.ops.deltas import Deltas
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.positions import Counting
from espnet_stnas.ops.rnn import Continued
from espnet_stnas.ops.streaming import (
    Form,
    Pointwise,
    Sequential,
    State,
    Sum,
    Window,
    joined_states,
    part_of_state,
)


class PointwiseStep(Step):
    """See :class:`espnet_stnas.ops.streaming.Pointwise`.

    Args:
        form: The form.
        most: The most frames of a call.
    """

    def __init__(self, form: Pointwise, most: int) -> None:
        super().__init__(most)
        self.run = form.run

    def forward(self, part: Part, state: State) -> tuple[Part, State]:
        """Transform frames (1, T, D); see :class:`Step`."""
        ys, _ = self.run(part.frames, part.valid)
        return part._replace(frames=zero_padding(ys, part.valid)), {}


class WindowStep(Step):
    """See :class:`espnet_stnas.ops.streaming.Window`.

    The state has the last input frames, and the numbers of frames that came in and went
    out. The window begins at the first frame of the utterance, until there are more
    frames than it needs: so the operation sees the start as it sees it in training.

    Args:
        form: The form.
        most: The most frames of a call.
    """

    def __init__(self, form: Window, most: int) -> None:
        chunk, stride = form.chunk, form.stride
        whole = -(-most // chunk) * chunk
        super().__init__(-(-whole // stride), chunk - 1 + form.right, stride)
        self.run = IndexedDeltas(form.run) if isinstance(form.run, Deltas) else form.run
        self.width, self.left, self.chunk = form.input_width, form.left, chunk
        self.right, self.lengths = form.right, form.lengths
        self.unit = math.lcm(chunk, stride)
        self.kept = max(1, self.lag + form.left + self.unit - 1)
        self.size = self.kept + most

    def start(self) -> State:
        """Return zeros; see :class:`Step`."""
        return {
            "frames": torch.zeros(1, self.kept, self.width),
            "seen": zero(),
            "done": zero(),
        }

    def forward(self, part: Part, state: State) -> tuple[Part, State]:
        """Transform frames (1, T, D) and those of the state; see :class:`Step`."""
        before, done = state["seen"], state["done"]
        seen = before + part.valid
        whole = seen // self.chunk * self.chunk
        certain = (whole - 1 - self.right + self.stride).clamp(min=0) // self.stride
        every = torch.maximum(self.lengths(seen).clamp(min=0), done)
        ready = torch.where(part.final, every, torch.maximum(certain, done))
        ready = torch.minimum(ready, done + self.most)
        # The place of the first frame counts from the start of the utterance.
        first = (done * self.stride - self.left).clamp(min=0) // self.unit * self.unit
        longer = torch.cat([state["frames"], part.frames], dim=1)
        frames = taken(longer, first - before + self.kept, self.size)
        valid = (seen - first).clamp(min=0)
        ys, _ = self.run(zero_padding(frames, valid), valid)
        ys = taken(ys, done - first // self.stride, self.most)
        count = ready - done
        kept = taken(longer, part.valid, self.kept)
        return (
            Part(zero_padding(ys, count), count, part.final & (ready >= every)),
            {"frames": kept, "seen": seen, "done": ready},
        )


class SequentialStep(Step):
    """See :class:`espnet_stnas.ops.streaming.Sequential`.

    Args:
        form: The form.
        most: The most frames of a call.
    """

    def __init__(self, form: Sequential, most: int) -> None:
        super().__init__(most)
        self.parts = torch.nn.ModuleList()
        for one in form.parts:
            step = step_of(one, self.most)
            self.most = step.most
            self.lag += self.stride * step.lag
            self.stride *= step.stride
            self.parts.append(step)

    def start(self) -> State:
        """Return the states of all parts (1, ...); see :class:`Step`."""
        states = {str(k): part.start() for k, part in enumerate(self.parts)}  # type: ignore[operator]
        return joined_states(states)

    def forward(self, part: Part, state: State) -> tuple[Part, State]:
        """Pass frames (1, T, D) through the parts; see :class:`Step`."""
        states = {}
        for k, step in enumerate(self.parts):
            part, states[str(k)] = step(part, part_of_state(state, str(k)))
        return part, joined_states(states)


class SumStep(Step):
    """See :class:`espnet_stnas.ops.streaming.Sum`.

    Args:
        form: The form.
        most: The most frames of a call.
    """

    def __init__(self, form: Sum, most: int) -> None:
        super().__init__(most)
        self.width = form.width
        self.parts = torch.nn.ModuleDict(
            {name: step_of(part, most) for name, part in form.parts.items()}
        )
        parts: list[Step] = list(self.parts.values())  # type: ignore[arg-type]
        self.most = max(part.most for part in parts)
        self.lag = max(part.lag for part in parts)
        self.stride = parts[0].stride
        # One part is ahead of the other by no more.
        self.kept = self.lag // self.stride + 2

    def start(self) -> State:
        """Return the states (1, ...) of both, and no frames; see :class:`Step`."""
        none = {"waiting": torch.zeros(1, self.kept, self.width), "ahead": zero()}
        states = {name: {**part.start(), **none} for name, part in self.parts.items()}  # type: ignore[operator]
        return joined_states(states)

    def forward(self, part: Part, state: State) -> tuple[Part, State]:
        """Transform frames (1, T, D) and add what both have; see :class:`Step`."""
        states, found, had, have, final = {}, [], [], [], part.final
        for name, step in self.parts.items():
            own = part_of_state(state, name)
            waiting, count = own.pop("waiting"), own.pop("ahead")
            out, after = step(part, own)
            longer = torch.cat([waiting, out.frames], dim=1)
            kept = taken(longer, out.valid, self.kept)
            states[name] = {**after, "waiting": kept}
            found.append(longer)
            had.append(count)
            have.append(count + out.valid)
            final = final & out.final
        total = torch.minimum(*have).clamp(max=self.most)
        for own, count in zip(states.values(), have, strict=True):
            own["ahead"] = count - total
            final = final & (count == total)
        one, other = (
            taken(longer, self.kept - count, self.most)
            for longer, count in zip(found, had, strict=True)
        )
        ys = zero_padding(one + other, total)
        return Part(ys, total, final), joined_states(states)


@functools.singledispatch
def step_of(form: Form, most: int) -> Step:
    """Return a form with tensors of fixed sizes.

    Args:
        form: The form.
        most: The most input frames of a call.

    Raises:
        ConfigError: If it is none of this package.
    """
    raise ConfigError(
        f"an operation runs chunk by chunk in a form of its own, "
        f"{type(form).__name__}, which export does not know; accepted are the forms of "
        "this package"
    )


for _form, _step in (
    (Pointwise, PointwiseStep),
    (Window, WindowStep),
    (Sequential, SequentialStep),
    (Sum, SumStep),
    (Continued, ContinuedStep),
    (Counting, CountingStep),
    (Cached, CachedStep),
):
    step_of.register(_form, _step)
