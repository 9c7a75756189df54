"""Recurrent layers, with or without projection."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation


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
        if self.projection is not None:
            states = torch.tanh(self.projection(states))
        return self.dropout(states), ilens
