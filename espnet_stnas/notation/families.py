"""The table of operation families. No torch."""

from __future__ import annotations

import re

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.family import (
    RESERVED_NAMES,
    OpFamily,
    Option,
)
from espnet_stnas.notation.geometry import (
    CONV2D_LAYERS,
    EVERYTHING,
    PAST,
    check_chunk,
    check_conformer,
    chunk_of,
    conformer_reach,
    conv2d_lengths,
    conv2d_reach,
    deformable_reach,
    ebranchformer_reach,
    kept_width,
    own_width,
    tdnn_lengths,
    tdnn_reach,
    transformer_reach,
)
from espnet_stnas.notation.plugins import refuse_other

_CONTEXT = Option("context", "C", 1, minimum=0, always_shown=True)
_RIGHT = Option("right", "R", None, minimum=0)
_STRIDE = Option("stride", "S", 1)
_DILATION = Option("dilation", "D", 1, always_shown=True)
_NORM = Option("norm", "N", "ln", choices=("ln", "bn"))
_WIDTH = Option("width", "W", None)
_HEADS = Option("heads", "H", 4, always_shown=True)
_KERNEL = Option("kernel_size", "K", 31, parity="odd", always_shown=True)
_FEED_FORWARD = Option("feed_forward", "F", None)
_MACARON = Option("macaron", "M", 1, choices=(0, 1))
_CHUNK = Option("chunk", "C", None)
_LEFT = Option("left", "L", None, minimum=0)

FAMILIES: dict[str, OpFamily] = {
    family.name: family
    for family in (
        OpFamily(
            "tdnn",
            "espnet_stnas.ops.tdnn:TDNN",
            (
                _CONTEXT,
                _RIGHT,
                _STRIDE,
                _DILATION,
                _NORM,
                _WIDTH,
            ),
            output_width=own_width,
            lengths=tdnn_lengths,
            reach=tdnn_reach,
            shared_options=("context", "right", "stride", "dilation", "width"),
        ),
        OpFamily("identity", "espnet_stnas.ops.basic:Identity"),
        OpFamily(
            "zero",
            "espnet_stnas.ops.basic:Zero",
            (_WIDTH,),
            output_width=kept_width,
        ),
        OpFamily(
            "deltas",
            "espnet_stnas.ops.deltas:Deltas",
            (Option("order", "O", 2, choices=(1, 2), always_shown=True),),
            output_width=lambda o, i, w: i * (1 + int(o["order"] or 0)),
            reach=lambda o: (2 * int(o["order"] or 0),) * 2,
        ),
        OpFamily(
            "conv2d",
            "espnet_stnas.ops.conv2d:Conv2dSubsampling",
            (
                Option(
                    "stride",
                    "S",
                    4,
                    choices=tuple(CONV2D_LAYERS),
                    always_shown=True,
                ),
                _WIDTH,
            ),
            output_width=own_width,
            lengths=conv2d_lengths,
            reach=conv2d_reach,
        ),
        OpFamily(
            "tdnnf",
            "espnet_stnas.ops.tdnnf:FactorisedTDNN",
            (
                _CONTEXT,
                _RIGHT,
                _DILATION,
                Option("bottleneck", "B", None),
                _NORM,
                _WIDTH,
            ),
            output_width=own_width,
            reach=tdnn_reach,
            shared_options=("context", "right", "dilation", "bottleneck", "width"),
        ),
        OpFamily(
            "sepconv",
            "espnet_stnas.ops.separable:SeparableConv",
            (_CONTEXT, _RIGHT, _STRIDE, _DILATION, _NORM, _WIDTH),
            output_width=own_width,
            lengths=tdnn_lengths,
            reach=tdnn_reach,
            shared_options=("context", "right", "stride", "dilation", "width"),
        ),
        OpFamily(
            "gtdnn",
            "espnet_stnas.ops.grouped:GroupedTDNN",
            (
                _CONTEXT,
                _STRIDE,
                _DILATION,
                Option("groups", "G", 4, always_shown=True),
                Option("norm", "N", "ln", choices=("ln", "bn", "none")),
                _WIDTH,
            ),
            output_width=kept_width,
            lengths=tdnn_lengths,
            reach=tdnn_reach,
            shared_options=("context", "stride", "dilation"),
        ),
        OpFamily(
            "deformtdnn",
            "espnet_stnas.ops.deformable:DeformableTDNN",
            (
                _CONTEXT,
                _STRIDE,
                _DILATION,
                Option("range", "O", 2),
                _NORM,
                _WIDTH,
            ),
            output_width=own_width,
            lengths=tdnn_lengths,
            reach=deformable_reach,
        ),
        *(
            OpFamily(
                name,
                "espnet_stnas.ops.rnn:Recurrent",
                (Option("units", "U", None), _WIDTH),
                output_width=own_width,
                reach=lambda o, reach=reach: reach,  # type: ignore[misc]
            )
            for name, reach in (
                ("lstm", PAST),
                ("blstm", EVERYTHING),
                ("gru", PAST),
                ("bgru", EVERYTHING),
            )
        ),
        OpFamily(
            "transformer",
            "espnet_stnas.ops.transformer:Transformer",
            (
                _HEADS,
                _FEED_FORWARD,
                Option("positions", "P", "abs", choices=("abs", "rel")),
                _CHUNK,
                _LEFT,
            ),
            reach=transformer_reach,
            chunk=chunk_of,
            check=check_chunk,
            shared_options=("heads", "feed_forward", "chunk", "left"),
        ),
        OpFamily(
            "conformer",
            "espnet_stnas.ops.conformer:Conformer",
            (_HEADS, _KERNEL, _RIGHT, _FEED_FORWARD, _MACARON, _CHUNK, _LEFT),
            reach=conformer_reach,
            chunk=chunk_of,
            check=check_conformer,
            shared_options=(
                *("heads", "kernel_size", "right", "feed_forward", "chunk", "left"),
            ),
        ),
        OpFamily(
            "ebranchformer",
            "espnet_stnas.ops.ebranchformer:EBranchformer",
            (
                _HEADS,
                _KERNEL,
                _RIGHT,
                Option("cgmlp", "G", None, minimum=2, parity="even"),
                _FEED_FORWARD,
                _MACARON,
                Option("merge_kernel", "J", 3, parity="odd"),
                _CHUNK,
                _LEFT,
            ),
            reach=ebranchformer_reach,
            chunk=chunk_of,
            check=check_conformer,
            shared_options=(
                *("heads", "kernel_size", "right", "cgmlp", "feed_forward"),
                *("merge_kernel", "chunk", "left"),
            ),
        ),
        OpFamily(
            "multiconvformer",
            "espnet_stnas.ops.multiconvformer:MultiConvformer",
            (
                _HEADS,
                _KERNEL,
                Option("kernels", "Q", 4, always_shown=True),
                Option("cgmlp", "G", None, minimum=2, parity="even"),
                _FEED_FORWARD,
                _MACARON,
                Option("merge_kernel", "J", 31, parity="odd"),
            ),
            reach=lambda o: EVERYTHING,
            shared_options=("heads", "kernel_size", "feed_forward", "merge_kernel"),
        ),
        OpFamily(
            "ff",
            "espnet_stnas.ops.feed_forward:FeedForward",
            (_FEED_FORWARD,),
            shared_options=("feed_forward",),
        ),
        OpFamily("norm", "espnet_stnas.ops.basic:Norm"),
        OpFamily(
            "positions",
            "espnet_stnas.ops.positions:Positions",
            (
                Option(
                    "positions",
                    "P",
                    "rel",
                    choices=("rel", "abs"),
                    always_shown=True,
                ),
            ),
        ),
    )
}


def register_operation(family: OpFamily) -> None:
    """Add an operation family to the notation.

    Call this in a module that every process imports: a module that an installed
    package names in the entry point group ``espnet_stnas``. A second call with the
    same family changes nothing.

    Args:
        family: Name, class, options and geometry.

    Raises:
        ConfigError: If the short form cannot express the name or the option codes, or
            if another family or an attribute of layers has the name.
    """
    codes = [option.code for option in family.options]
    if not re.fullmatch("[a-z][a-z0-9_]*", family.name):
        raise ConfigError(
            f"operation '{family.name}' cannot be registered; accepted is a name of "
            "small letters, digits and _"
        )
    if family.name in RESERVED_NAMES:
        raise ConfigError(
            f"operation '{family.name}' cannot be registered, since torch.nn.Module "
            "or a layer has an attribute of that name; accepted is another name, such "
            f"as '{family.name}_op'"
        )
    if len(set(codes)) < len(codes) or not all(re.fullmatch("[A-Z]", c) for c in codes):
        raise ConfigError(
            f"operation '{family.name}' has the codes {', '.join(codes)}; accepted is "
            "one capital letter for each option"
        )
    known = FAMILIES.get(family.name, family)
    refuse_other("operation", family.name, family.module, known.module)
    FAMILIES[family.name] = family
