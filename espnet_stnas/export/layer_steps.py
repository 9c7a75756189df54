"""Steps (:mod:`espnet_stnas.export.step`) of layers that keep more than frames."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from espnet_stnas.export.step import Part, Step, taken, zero
from espnet_stnas.ops.attention import PAST, Cached
from espnet_stnas.ops.caching import Cache, caching
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.positions import Counting
from espnet_stnas.ops.rnn import Continued
from espnet_stnas.ops.streaming import State


class ContinuedStep(Step):
    """See :class:`espnet_stnas.ops.rnn.Continued`; frame by frame.

    Args:
        form: The form.
        most: The most frames of a call.
    """

    def __init__(self, form: Continued, most: int) -> None:
        super().__init__(most)
        self.layer, self.names = form.layer, form.names

    def start(self) -> State:
        """Return zeros (1, U); see :class:`Step`."""
        return {n: torch.zeros(1, self.layer.rnn.hidden_size) for n in self.names}

    def forward(self, part: Part, state: State) -> tuple[Part, State]:
        """Transform frames (1, T, D); see :class:`Step`."""
        rnn = self.layer.rnn
        given = F.linear(part.frames, rnn.weight_ih_l0, rnn.bias_ih_l0)  # type: ignore[arg-type]
        values, found = [state[name] for name in self.names], []
        # A linear layer would become one Gemm for each frame. When it quantises those,
        # onnxruntime 1.23, the last for Python 3.10, transposes the weights each time.
        weights: Any = rnn.weight_hh_l0
        weights = weights.t()
        for frame in range(self.most):
            hidden = values[0] @ weights + rnn.bias_hh_l0
            cell = _lstm_cell if len(values) == 2 else _gru_cell
            after = cell(given[:, frame], hidden, *values)
            valid = (part.valid > frame).unsqueeze(1)
            values = [
                torch.where(valid, new, old)
                for new, old in zip(after, values, strict=True)
            ]
            found.append(values[0])
        ys = self.layer.projected(torch.stack(found, dim=1))
        part = part._replace(frames=zero_padding(ys, part.valid))
        return part, dict(zip(self.names, values, strict=True))


def _lstm_cell(
    given: torch.Tensor, hidden: torch.Tensor, h: torch.Tensor, c: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return the next h and c (1, U), from what goes into the gates (1, 4U)."""
    enter, forget, new, out = (given + hidden).chunk(4, dim=1)
    c = forget.sigmoid() * c + enter.sigmoid() * new.tanh()
    return out.sigmoid() * c.tanh(), c


def _gru_cell(
    given: torch.Tensor, hidden: torch.Tensor, h: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return the next h (1, U), from what goes into the gates (1, 3U)."""
    reset, update, new = given.chunk(3, dim=1)
    h_reset, h_update, h_new = hidden.chunk(3, dim=1)
    new = (new + (reset + h_reset).sigmoid() * h_new).tanh()
    return (new + (update + h_update).sigmoid() * (h - new),)


class CountingStep(Step):
    """See :class:`espnet_stnas.ops.positions.Counting`.

    Args:
        form: The form.
        most: The most frames of a call.
    """

    rates: torch.Tensor

    def __init__(self, form: Counting, most: int) -> None:
        super().__init__(most)
        self.width = form.width
        # As ESPnet's PositionalEncoding computes them.
        step = -math.log(10000.0) / self.width
        self.register_buffer("rates", torch.exp(torch.arange(0, self.width, 2) * step))

    def start(self) -> State:
        """Return the number of frames (1,), 0; see :class:`Step`."""
        return {"seen": zero()}

    def forward(self, part: Part, state: State) -> tuple[Part, State]:
        """Add positions to frames (1, T, D); see :class:`Step`."""
        frames = (state["seen"] + torch.arange(self.most)).unsqueeze(1)
        angles = frames.to(self.rates.dtype) * self.rates
        sinusoids = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
        ys = part.frames * math.sqrt(self.width) + sinusoids
        after = {"seen": state["seen"] + part.valid}
        return part._replace(frames=zero_padding(ys, part.valid)), after


class CachedStep(Step):
    """See :class:`espnet_stnas.ops.attention.Cached`.

    Args:
        form: The form.
        most: The most frames of a call.
    """

    def __init__(self, form: Cached, most: int) -> None:
        self.chunk = chunk = int(form.layer.options["chunk"])
        super().__init__(-(-most // chunk) * chunk, chunk - 1)
        self.layer, self.width, self.convolutions = form.layer, form.width, form.kept
        self.past = max(1, form.past)
        self.kept = max(1, chunk - 1)

    def start(self) -> State:
        """Return zeros; see :class:`Step`."""
        return {
            "frames": torch.zeros(1, self.kept, self.width),
            "count": zero(),
            "done": zero(),
            PAST: torch.zeros(1, self.past, self.width),
            **{name: torch.zeros(1, *s) for name, s in self.convolutions.items()},
        }

    def forward(self, part: Part, state: State) -> tuple[Part, State]:
        """Transform all whole chunks of (1, T, D); see :class:`Step`."""
        waiting, done = state["count"], state["done"]
        have = waiting + part.valid
        count = torch.where(part.final, have, have // self.chunk * self.chunk)
        count = count.clamp(max=self.most)
        longer = torch.cat([state["frames"], part.frames], dim=1)
        frames = taken(longer, self.kept - waiting, self.most)
        cache = _CountingCache(state, count, done)
        with caching(cache):
            ys, _ = self.layer(zero_padding(frames, count), count, self.past)
        after = {
            "frames": taken(longer, part.valid, self.kept),
            "count": have - count,
            "done": done + count,
        }
        final = part.final & (have == count)
        return Part(zero_padding(ys, count), count, final), {**after, **cache.after}


class _CountingCache(Cache):
    """Keeps the last valid frames.

    Args:
        state: The frames of the last call (1, ...), by the names of the parts.
        count: Valid frames of this call (1,).
        done: Valid frames before it (1,).
    """

    def __init__(self, state: State, count: torch.Tensor, done: torch.Tensor) -> None:
        super().__init__(state)
        self.count, self.done = count, done

    def extended(
        self, name: str, frames: torch.Tensor, keep: int, dim: int
    ) -> torch.Tensor:
        """Put frames in front (1, T, D) or (1, D, T); see :class:`Cache`."""
        before = self.before[name]
        longer = torch.cat([before, frames], dim=dim)
        self.after[name] = taken(longer, self.count, before.size(dim), dim)
        return longer

    def valid(self, past: int, mask: torch.Tensor) -> torch.Tensor:
        """Return which frames in front there have been (1, 1, P)."""
        return (torch.arange(past) >= past - self.done).view(1, 1, past)
