"""The transformer layer (Vaswani et al. 2017), made of ESPnet's parts."""

from __future__ import annotations

from typing import Any

import torch

from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.attention import AttentionLayer
from espnet_stnas.ops.espnet import espnet_part


class Transformer(AttentionLayer):
    """ESPnet's transformer layer: pre-norm self-attention and feed-forward.

    With ``positions: abs`` (the default), the attention itself uses no positions: the
    operation ``positions-Pabs`` in front of all layers adds them. The chain of
    ``conv2d-S4``, ``positions-Pabs``, n of these layers and ``norm`` computes the same
    as ESPnet's TransformerEncoder (for the names of parameters, see
    :class:`espnet_stnas.ops.conformer.Conformer`). Next to conformers, whose input
    contains no positions, use ``positions: rel``: the same layer with the conformer's
    attention.

    Args:
        spec: Options heads, feed_forward (width; default 4 times the width of a frame),
            positions (``abs`` or ``rel``), chunk and left
            (:class:`~espnet_stnas.ops.attention.AttentionLayer`).
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
            # ESPnet's transformer layer does not support relative positions. Its
            # conformer layer does, and without the convolution it is the same.
            layer = espnet_part("ConformerLayer", name)(
                self.output_width, attention, feed_forward, None, None, rate
            )
        else:
            layer = espnet_part("TransformerLayer", name)(
                self.output_width, attention, feed_forward, rate
            )
        self._set_layer(layer)
