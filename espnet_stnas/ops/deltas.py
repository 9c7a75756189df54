"""Time derivatives of the features."""

from __future__ import annotations

import torch
from torchaudio.functional import compute_deltas

from espnet_stnas.ops.base import Operation


class Deltas(Operation):
    """Appends the first (and second) time derivatives to each frame.

    Derivatives are slopes over 5 frames, as in Kaldi's add-deltas and in the paper's
    input (120 = 40 x 3 dimensions). At the edges, the first and the last valid frame
    are repeated. The operation has no parameters.
    """

    streams = True

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, T, D) to (B, T, D * (1 + order)); see :class:`Operation`."""
        order = int(self.spec.options["order"] or 0)
        parts = [xs_pad]
        for _ in range(order):
            edged = _repeat_last_frame(parts[-1], ilens)
            parts.append(compute_deltas(edged.transpose(1, 2)).transpose(1, 2))
        return torch.cat(parts, dim=2), ilens


def _repeat_last_frame(xs_pad: torch.Tensor, ilens: torch.Tensor) -> torch.Tensor:
    """Fill the padding of (B, T, D) with each utterance's last valid frame."""
    frames = torch.arange(xs_pad.size(1), device=xs_pad.device).expand(
        xs_pad.size(0), -1
    )
    last = (ilens - 1).clamp(min=0).unsqueeze(1)
    index = torch.minimum(frames, last).unsqueeze(2).expand_as(xs_pad)
    return xs_pad.gather(1, index)
