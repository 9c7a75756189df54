"""The conformer layer (Gulati et al. 2020), made of ESPnet's parts."""

from __future__ import annotations

from typing import Any

from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.attention import AttentionLayer
from espnet_stnas.ops.espnet import espnet_part


class Conformer(AttentionLayer):
    """ESPnet's conformer layer with relative positions (``rel_pos_type: latest``).

    The chain of ``conv2d-S4``, ``positions-Prel``, n of these layers and ``norm``
    computes the same as ESPnet's ConformerEncoder with n blocks and swish activation.
    In that order, ESPnet's parameters are ``embed.*`` (here ``subsampling.*`` of the
    first operation), ``encoders.<i>.*`` (here ``layer.*`` of layer i) and
    ``after_norm.*`` (here ``norm.*`` of the last operation).

    Args:
        spec: Options heads, kernel_size, right (frames of the kernel after the present
            one; default half of it), feed_forward (width; default 4 times the width of
            a frame), macaron (1: a half feed-forward layer comes first), chunk and left
            (:class:`~espnet_stnas.ops.attention.AttentionLayer`).
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.
    """

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        name = str(spec)
        swish = espnet_part("Swish", name)()
        convolution = espnet_part("ConvolutionModule", name)
        self._set_layer(
            espnet_part("ConformerLayer", name)(
                self.output_width,
                self._attention(relative=True),
                self._feed_forward(swish),
                self._feed_forward(swish) if self.options["macaron"] else None,
                convolution(self.output_width, self.options["kernel_size"], swish),
                self.dropout_rate,
            )
        )
        self._set_sides("conv_module.depthwise_conv", "kernel_size")
