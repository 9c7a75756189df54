"""The E-Branchformer layer (Kim et al. 2022), made of ESPnet's parts."""

from __future__ import annotations

from typing import Any

from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.attention import AttentionLayer
from espnet_stnas.ops.espnet import espnet_part


class EBranchformer(AttentionLayer):
    """ESPnet's E-Branchformer layer with relative positions and feed-forward layers.

    The chain of ``conv2d-S4``, ``positions-Prel``, n of these layers and ``norm``
    computes the same as ESPnet's EBranchformerEncoder with ``use_ffn: true`` (for the
    names of parameters, see :class:`espnet_stnas.ops.conformer.Conformer`). Default
    widths, relative to the width of a frame, follow ESPnet's larger recipes (cgMLP: 6)
    and most of its recipes (feed-forward: 4).

    Args:
        spec: Options heads, kernel_size (of the cgMLP), right (frames of both kernels
            after the present one, at most; default half of each), cgmlp (width of the
            cgMLP), feed_forward (width), macaron (1: a half feed-forward layer comes
            first), merge_kernel (ESPnet's default is 3, its recipes use 31), chunk and
            left (:class:`~espnet_stnas.ops.attention.AttentionLayer`).
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.
    """

    stacked = {"channel_proj1": 2}

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
        self._set_sides("cgmlp.csgu.conv", "kernel_size")
        self._set_sides("depthwise_conv_fusion", "merge_kernel")
