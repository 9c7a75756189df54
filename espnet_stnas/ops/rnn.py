"""Recurrent layers, with or without projection."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.streaming import Form, State


class Recurrent(Operation):
    """LSTM or GRU (-> linear projection -> tanh) -> dropout.

    With the option units, this is a layer of ESPnet's RNN encoders (``vgg_rnn``,
    ``rnn``). Without it, this is the layer of the ST-NAS code: as many units as output
    dimensions (half of them in each of two directions) and no projection. The backward
    direction of ``blstm`` and ``bgru`` starts at the last valid frame of an utterance.

    Args:
        spec: ``lstm``, ``blstm``, ``gru`` or ``bgru``, with options units (per
            direction) and width.
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.

    Raises:
        ConfigError: If two directions without projection should give an odd width.
    """

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        directions = 2 if spec.op.startswith("b") else 1
        given = spec.options["units"]
        if given is None and self.output_width % directions:
            raise ConfigError(
                f"operation '{spec}' makes width {self.output_width} of two "
                "directions; accepted is an even width, or the option units (U)"
            )
        units = int(given or self.output_width // directions)
        rnn = torch.nn.LSTM if spec.op.endswith("lstm") else torch.nn.GRU
        self.rnn = rnn(
            self.input_width, units, batch_first=True, bidirectional=directions == 2
        )
        self.projection = (
            None
            if given is None
            else torch.nn.Linear(directions * units, self.output_width)
        )
        self.dropout = torch.nn.Dropout(self.dropout_rate)

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) to (B, T, D'); see :class:`Operation`."""
        # torch cannot pack utterances without frames; the network zeroes their output.
        lengths = ilens.clamp(min=1).cpu()
        packed = pack_padded_sequence(
            xs_pad, lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(
            self.rnn(packed)[0], batch_first=True, total_length=xs_pad.size(1)
        )
        return self.projected(states), ilens

    def projected(self, states: torch.Tensor) -> torch.Tensor:
        """Return the output frames (B, T, D') of the states (B, T, U) of units."""
        if self.projection is not None:
            states = torch.tanh(self.projection(states))
        return self.dropout(states)

    def streaming(self) -> Form:
        """Return the form of one direction; see :class:`Operation`."""
        return super().streaming() if self.rnn.bidirectional else Continued(self)


class Continued(Form):
    """Goes on with the states of the units: h, and c of an LSTM.

    Args:
        layer: The recurrent layer.
    """

    def __init__(self, layer: Recurrent) -> None:
        super().__init__(layer.output_width)
        self.layer = layer
        self.names = ("h", "c") if isinstance(layer.rnn, torch.nn.LSTM) else ("h",)

    def start(self, like: torch.Tensor) -> State:
        """Return zeros (B, 1, U); see :class:`Form`."""
        zeros = like.new_zeros(like.size(0), 1, self.layer.rnn.hidden_size)
        return dict.fromkeys(self.names, zeros)

    def step(
        self, xs: torch.Tensor, state: State, final: bool
    ) -> tuple[torch.Tensor, State]:
        """Transform frames (B, T, D); see :class:`Form`."""
        if xs.size(1) == 0:
            return xs.new_zeros(xs.size(0), 0, self.width), state
        before = tuple(state[name].transpose(0, 1).contiguous() for name in self.names)
        lstm = len(before) == 2
        states, after = self.layer.rnn(xs, before if lstm else before[0])
        after = after if lstm else (after,)
        after = (values.transpose(0, 1) for values in after)
        ys = self.layer.projected(states)
        return ys, dict(zip(self.names, after, strict=True))
