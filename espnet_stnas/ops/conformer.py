"""The conformer layer (Gulati et al. 2020), made of ESPnet's parts."""

from __future__ import annotations

from typing import Any

from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.attention import AttentionLayer
from espnet_stnas.ops.espnet import espnet_part


class Conformer(AttentionLayer):
    """ESPnet's conformer layer with relative positions (`rel_pos_type: latest`).

    The chain ``conv2d-S4``, ``positions-Prel``, n times this, ``norm`` is ESPnet's
    ConformerEncoder with n blocks and swish activation. Its parameters are, in order,
    ``embed.*`` (here ``subsampling.*`` of the first operation), ``encoders.<i>.*``
    (``layer.*`` of the i-th of these) and ``after_norm.*`` (``norm.*`` of the last).

    Args:
        spec: Options heads, kernel_size, feed_forward (width, else 4 times the width of
            a frame), macaron (whether a half feed-forward layer comes first).
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
