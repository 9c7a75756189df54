"""Several operations as one candidate."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from espnet_stnas.notation.spec import ChainSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.streaming import Form, Sequential


class Chain(Operation):
    """Runs several operations in sequence.

    Args:
        spec: The chain.
        parts: The modules of its operations.
    """

    def __init__(self, spec: ChainSpec, parts: Sequence[Operation]) -> None:
        super().__init__(
            spec,
            input_width=parts[0].input_width,
            output_width=parts[-1].output_width,
            dropout_rate=parts[0].dropout_rate,
        )
        self.parts = torch.nn.ModuleList(parts)

    def stacked_parts(self, name: str) -> int:
        """Return the number of parts that are stacked in a weight of this name."""
        _, number, rest = name.split(".", 2)
        part = self.parts[int(number)]
        assert isinstance(part, Operation)
        return part.stacked_parts(rest)

    def streaming(self) -> Form:
        """Return the forms of all parts in sequence; see :class:`Operation`."""
        forms = []
        for part in self.parts:
            assert isinstance(part, Operation)
            forms.append(part.streaming())
        return Sequential(forms)

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) to (B, T', D'); see :class:`Operation`."""
        for part in self.parts:
            xs_pad, ilens = part(zero_padding(xs_pad, ilens), ilens)
        return xs_pad, ilens
