"""The E-Branchformer layer (Kim et al. 2022), made of ESPnet's parts."""

from __future__ import annotations

from typing import Any

from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.attention import AttentionLayer
from espnet_stnas.ops.espnet import espnet_part


class EBranchformer(AttentionLayer):
    """ESPnet's E-Branchformer layer with relative positions and feed-forward layers.

    The chain ``conv2d-S4``, ``positions-Prel``, n times this, ``norm`` is ESPnet's
    EBranchformerEncoder with ``use_ffn: true`` (parameters as in
    :class:`espnet_stnas.ops.conformer.Conformer`). The widths that options leave out
    are, in widths of a frame, those of ESPnet's larger recipes (cgMLP: 6) and of most
    of its recipes (feed-forward: 4).

    Args:
        spec: Options heads, kernel_size (of the cgMLP), cgmlp (its width),
            feed_forward (width), macaron (whether a half feed-forward layer comes
            first), merge_kernel (3 is ESPnet's default, 31 that of its recipes).
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.
    """

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        name, options = str(spec), self.options
        swish = espnet_part("Swish", name)()
        cgmlp = espnet_part("ConvolutionalGatingMLP", name)(
            self.output_width,
            options["cgmlp"] or 6 * self.output_width,
            options["kernel_size"],
            self.dropout_rate,
            use_linear_after_conv=False,
            gate_activation="identity",
        )
        self._set_layer(
            espnet_part("EBranchformerLayer", name)(
                self.output_width,
                self._attention(relative=True),
                cgmlp,
                self._feed_forward(swish),
                self._feed_forward(swish) if options["macaron"] else None,
                self.dropout_rate,
                options["merge_kernel"],
            )
        )
