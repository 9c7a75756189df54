"""The transformer layer (Vaswani et al. 2017), made of ESPnet's parts."""

from __future__ import annotations

from typing import Any

import torch

from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.attention import AttentionLayer
from espnet_stnas.ops.espnet import espnet_part


class Transformer(AttentionLayer):
    """ESPnet's transformer layer: pre-norm self-attention and feed-forward.

    With ``positions: abs`` (the default), attention knows no positions: they come from
    ``positions-Pabs`` in front of all layers, so that the chain ``conv2d-S4``,
    ``positions-Pabs``, n times this, ``norm`` is ESPnet's TransformerEncoder
    (parameters as in :class:`espnet_stnas.ops.conformer.Conformer`). Beside conformers,
    whose input has no positions in it, use ``positions: rel``: the same layer with
    their attention.

    Args:
        spec: Options heads, feed_forward (width, else 4 times the width of a frame),
            positions (``abs`` or ``rel``).
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.
    """

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        name = str(spec)
        relative = self.options["positions"] == "rel"
        attention = self._attention(relative)
        feed_forward = self._feed_forward(torch.nn.ReLU())
        rate = self.dropout_rate
        if relative:
            # Its transformer layer has no place for relative positions, its conformer
            # layer has, and is one without the convolution.
            layer = espnet_part("ConformerLayer", name)(
                self.output_width, attention, feed_forward, None, None, rate
            )
        else:
            layer = espnet_part("TransformerLayer", name)(
                self.output_width, attention, feed_forward, rate
            )
        self._set_layer(layer)
