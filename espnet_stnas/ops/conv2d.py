"""ESPnet's convolutional subsampling at the start of an encoder."""

from __future__ import annotations

from typing import Any

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.espnet import conv2d_subsampling, too_short_error


class Conv2dSubsampling(Operation):
    """ESPnet's ``Conv2dSubsampling{2,4,6,8}`` without positional encoding.

    Output lengths follow from the convolutions, so valid output frames do not depend on
    padding frames (ESPnet's masks keep some frames that do).

    Raises:
        ConfigError: If the input has too few dimensions for the convolutions.
    """

    streams = True

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        if spec.output_length(self.input_width) < 1:
            raise ConfigError(
                f"operation '{spec}' needs more than {self.input_width} input "
                "dimensions, since it convolves over dimensions as over frames"
            )
        self.subsampling = conv2d_subsampling(
            spec.stride, self.input_width, self.output_width
        )

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, T, D) to about (B, T / stride, D'); see :class:`Operation`.

        Raises:
            TooShortUttError: If no utterance is long enough for one output frame;
                ESPnet's inference catches it.
        """  # noqa: DOC501 (raised by too_short_error)
        if self.spec.output_length(xs_pad.size(1)) < 1:
            raise too_short_error(f"'{self.spec}'", xs_pad.size(1))
        ys, _ = self.subsampling(xs_pad, None)
        return ys, self.spec.output_length(ilens).clamp(min=0)
