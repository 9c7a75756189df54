"""What operations with ESPnet's self-attention share."""

from __future__ import annotations

from typing import Any, Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.espnet import espnet_part
from espnet_stnas.ops.lengths import padding_mask
from espnet_stnas.ops.padding import keep_padding_out, valid_lengths


class RelativePositions(torch.nn.Module):
    """ESPnet's sinusoids of relative positions (its `rel_pos`, `latest`).

    An encoder of ESPnet makes them once for all its layers; here every operation makes
    its own, since it may stand beside any other. They are no part of the state dict.

    Args:
        operation: Who needs them, for messages.
        width: Dimensions D of a frame, an even number.
        dropout_rate: Probability of dropping an element.
    """

    def __init__(self, operation: str, width: int, dropout_rate: float) -> None:
        super().__init__()
        encoding = espnet_part("RelPositionalEncoding", operation)
        # It grows when it has to; ESPnet's 5000 frames in each operation of a supernet
        # would need more memory than their weights.
        self.encoding = encoding(width, dropout_rate, max_len=1)

    def forward(self, xs_pad: torch.Tensor) -> torch.Tensor:
        """Make the sinusoids (1, 2T - 1, D) for frames (B, T, D).

        In float32 at least: what half precision has rounded stays rounded, as the
        encoding keeps what it last made.
        """
        dtype = torch.promote_types(xs_pad.dtype, torch.float32)
        # It takes the length, the type and the device from its input.
        frames = torch.zeros((1, xs_pad.size(1)), dtype=dtype, device=xs_pad.device)
        return self.encoding(frames)[1].to(xs_pad.dtype)


class AttentionLayer(Operation):
    """One of ESPnet's encoder layers with self-attention, on valid frames only.

    It is a pre-norm layer with its own skips, so it needs none around it. Attention
    weights are not dropped out, which is the default of ESPnet's encoders.

    Raises:
        ConfigError: If the width is odd or not divisible by the number of heads.
    """

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        options: dict[str, Any] = spec.options
        self.options = options
        heads, width = options["heads"], self.output_width
        if width % heads:
            raise ConfigError(
                f"operation '{spec}': option 'heads' is {heads}; accepted are divisors "
                f"of its width, which is {width}"
            )
        self.layer: torch.nn.Module
        self.positions: Optional[RelativePositions] = None

    def _set_layer(self, layer: torch.nn.Module) -> None:
        keep_padding_out(layer)
        self.layer = layer

    def _attention(self, relative: bool) -> torch.nn.Module:
        """Self-attention with relative positions, or with none."""
        name = str(self.spec)
        if relative:
            check_even(self.spec, self.output_width)
            self.positions = RelativePositions(
                name, self.output_width, self.dropout_rate
            )
        part = "RelPositionMultiHeadedAttention" if relative else "MultiHeadedAttention"
        return espnet_part(part, name)(self.options["heads"], self.output_width, 0.0)

    def _feed_forward(self, activation: torch.nn.Module) -> torch.nn.Module:
        return espnet_part("PositionwiseFeedForward", str(self.spec))(
            self.output_width,
            self.options["feed_forward"] or 4 * self.output_width,
            self.dropout_rate,
            activation,
        )

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) to (B, T, D); see :class:`Operation`."""
        # As ESPnet's encoders make it: (B, 1, T), true where valid.
        mask = ~padding_mask(ilens, xs_pad.size(1)).unsqueeze(1)
        with valid_lengths(ilens):
            if self.positions is None:
                ys, _ = self.layer(xs_pad, mask)
            else:
                (ys, _), _ = self.layer((xs_pad, self.positions(xs_pad)), mask)
        self._forget_attention()
        return ys, ilens

    def _forget_attention(self) -> None:
        """Drop the weights (B, heads, T, T) that ESPnet's attention keeps for plots.

        With their graph, of every candidate, they would outlive the step. ESPnet's
        plots take them from hooks of the attention, that is before this.
        """
        for module in self.layer.modules():
            if isinstance(getattr(module, "attn", None), torch.Tensor):
                module.attn = None  # type: ignore[assignment]


def check_even(spec: OpSpec, width: int) -> None:
    """Refuse sinusoids of an odd width: sines and cosines come in pairs.

    Raises:
        ConfigError: If the width is odd.
    """
    if width % 2:
        raise ConfigError(
            f"operation '{spec}' has width {width}; accepted are even widths, since "
            "positions are pairs of a sine and a cosine"
        )
