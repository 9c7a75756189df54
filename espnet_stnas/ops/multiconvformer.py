"""The layer of MultiConvFormer (Prabhu et al. 2024), made of ESPnet's parts."""

from __future__ import annotations

from typing import Any

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.attention import AttentionLayer
from espnet_stnas.ops.espnet import espnet_part


class MultiConvformer(AttentionLayer):
    """ESPnet's conformer layer with gated convolutions of several kernel sizes.

    The chain of ``conv2d-S4``, ``positions-Prel``, n of these layers and ``norm``
    computes the same as ESPnet's MultiConvConformerEncoder (arXiv:2407.03718) with
    ``multicgmlp_type: concat_fusion`` (for the names of parameters, see
    :class:`espnet_stnas.ops.conformer.Conformer`). Default widths, relative to the
    width of a frame, are those of ``ebranchformer``.

    Args:
        spec: Options heads, kernel_size (the largest), kernels (their number; sizes
            are spaced evenly: 7, 15, 23, 31), cgmlp (width of the gated convolutions),
            feed_forward (width), macaron (1: a half feed-forward layer comes first),
            merge_kernel.
        sizes: ``input_width``, ``output_width`` and ``dropout_rate``.

    Raises:
        ConfigError: If the kernels cannot share the dimensions of the cgMLP evenly.
    """

    stacked = {"channel_proj1": 2}

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        name, options = str(spec), self.options
        kernels = options["kernels"]
        cgmlp = options["cgmlp"] or 6 * self.output_width
        if cgmlp // 2 % kernels:
            raise ConfigError(
                f"operation '{spec}': option 'kernels' is {kernels}; accepted are "
                f"divisors of half of its cgmlp, which is {cgmlp // 2}"
            )
        swish = espnet_part("Swish", name)()
        convolution = espnet_part("MultiConvolutionalGatingMLP", name)(
            self.output_width,
            cgmlp,
            arch_type="concat_fusion",
            kernel_sizes=",".join(map(str, kernel_sizes(spec))),
            merge_conv_kernel=options["merge_kernel"],
            use_non_linear=True,
            dropout_rate=self.dropout_rate,
            use_linear_after_conv=False,
            activation=swish,
            gate_activation="identity",
        )
        self._set_layer(
            espnet_part("ConformerLayer", name)(
                self.output_width,
                self._attention(relative=True),
                self._feed_forward(swish),
                self._feed_forward(swish) if options["macaron"] else None,
                convolution,
                self.dropout_rate,
            )
        )


def kernel_sizes(spec: OpSpec) -> list[int]:
    """Return the sizes of the kernels: odd numbers up to the largest.

    >>> from espnet_stnas.notation.spec import parse_op
    >>> kernel_sizes(parse_op("multiconvformer-K31Q4", "layers[1]"))
    [7, 15, 23, 31]
    """
    largest, count = (int(spec.options[k] or 1) for k in ("kernel_size", "kernels"))
    shares = (largest * n // count for n in range(1, count + 1))
    return [max(1, (share - 1) // 2 * 2 + 1) for share in shares]
