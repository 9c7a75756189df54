"""Operation specs: the names, options and geometry of operations, without torch.

An operation is written in a short form, as in the code of the ST-NAS paper
(``tdnn-C2D1Nln``), or in a long form (``{op: tdnn, context: 2, dilation: 1}``).
Both give the same :class:`OpSpec`, whose string is the canonical short form.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, TypeVar, Union

from espnet_stnas.messages import shown

OptionValue = Union[int, str, None]
Options = dict[str, OptionValue]
# An int, or anything with integer arithmetic: a LongTensor of lengths (B,).
Length = TypeVar("Length")


# No integer option, width or reach is larger; what is, is a slip of the pen.
LARGEST = 100_000


class ConfigError(ValueError):
    """Something a user wrote (YAML key, option, file) that cannot be honoured."""


@dataclass(frozen=True)
class Option:
    """One option of an operation family.

    Args:
        name: Key in the long form.
        code: Capital letter in the short form.
        default: Value when absent; ``None`` means "as the network says".
        minimum: Smallest integer accepted (integer options).
        choices: All values accepted, where they are few.
        always_shown: Written in the canonical form even at its default.
    """

    name: str
    code: str
    default: OptionValue
    minimum: int = 1
    choices: tuple[OptionValue, ...] = ()
    always_shown: bool = False

    @property
    def accepts(self) -> str:
        """What the option accepts, in words."""
        if self.choices:
            return "one of " + ", ".join(str(c) for c in self.choices)
        return f"an integer from {self.minimum} to {LARGEST}"

    def check(self, value: Any, where: str) -> OptionValue:
        """Return ``value`` if it is accepted.

        Raises:
            ConfigError: If it is not.
        """
        if value is None and self.default is None:
            return None
        if self.choices:
            # 1.0 and True equal 1, but are not it.
            good = any(type(value) is type(c) and value == c for c in self.choices)
        else:
            good = type(value) is int and self.minimum <= value <= LARGEST
        if not good:
            raise ConfigError(
                f"{where}: option '{self.name}' is {shown(value)}; "
                f"accepted is {self.accepts}"
            )
        return value


@dataclass(frozen=True)
class OpFamily:
    """What every operation of one family has in common.

    Args:
        name: Name of the family, e.g. ``tdnn``.
        module: ``package.module:Class`` that implements it, imported when built.
        options: Accepted options, in the order of the canonical short form.
        output_width: ``(options, input width, network width) -> output width``.
        output_length: ``(options, input length) -> output length``, in frames.
        stride: ``options -> input frames per output frame``.
        reach: ``options -> input frames seen to the left and right``.
    """

    name: str
    module: str
    options: tuple[Option, ...] = ()
    output_width: Callable[[Options, int, int], int] = lambda o, i, w: i
    output_length: Callable[[Options, Any], Any] = lambda o, n: n
    stride: Callable[[Options], int] = lambda o: 1
    reach: Callable[[Options], tuple[int, int]] = lambda o: (0, 0)

    def option_names(self) -> str:
        """The long and short names of all options, for error messages."""
        if not self.options:
            return "none"
        return ", ".join(f"{o.name} ({o.code})" for o in self.options)


def _own_width(options: Options, input_width: int, width: int) -> int:
    own = options["width"]
    return width if own is None else int(own)


def _tdnn_length(options: Options, length: Any) -> Any:
    # floor((L + 2cd - d(k - 1) - 1) / s) + 1 with kernel k = 2c + 1
    return (length - 1) // options["stride"] + 1


def _tdnn_reach(options: Options) -> tuple[int, int]:
    reach = int(options["context"] or 0) * int(options["dilation"] or 1)
    return reach, reach


# (kernel, stride) of the two or three 2-D convolutions of ESPnet's
# Conv2dSubsampling{2,4,6,8}, along time, without padding.
CONV2D_LAYERS: dict[OptionValue, tuple[tuple[int, int], ...]] = {
    2: ((3, 2), (3, 1)),
    4: ((3, 2), (3, 2)),
    6: ((3, 2), (5, 3)),
    8: ((3, 2), (3, 2), (3, 2)),
}


def _conv2d_length(options: Options, length: Any) -> Any:
    for kernel, stride in CONV2D_LAYERS[options["stride"]]:
        length = (length - kernel) // stride + 1
    return length


def _conv2d_reach(options: Options) -> tuple[int, int]:
    right, step = 0, 1
    for kernel, stride in CONV2D_LAYERS[options["stride"]]:
        right += (kernel - 1) * step
        step *= stride
    return 0, right


_WIDTH = Option("width", "W", None)

FAMILIES: dict[str, OpFamily] = {
    family.name: family
    for family in (
        OpFamily(
            "tdnn",
            "espnet_stnas.ops.tdnn:TDNN",
            (
                Option("context", "C", 1, minimum=0, always_shown=True),
                Option("stride", "S", 1),
                Option("dilation", "D", 1, always_shown=True),
                Option("norm", "N", "ln", choices=("ln", "bn")),
                _WIDTH,
            ),
            output_width=_own_width,
            output_length=_tdnn_length,
            stride=lambda o: int(o["stride"] or 1),
            reach=_tdnn_reach,
        ),
        OpFamily("identity", "espnet_stnas.ops.basic:Identity"),
        OpFamily("zero", "espnet_stnas.ops.basic:Zero"),
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
            output_width=_own_width,
            output_length=_conv2d_length,
            stride=lambda o: int(o["stride"] or 1),
            reach=_conv2d_reach,
        ),
    )
}


@dataclass(frozen=True)
class OpSpec:
    """One operation with the values of all its options.

    Args:
        op: Name of its family.
        values: Option values in the order of ``FAMILIES[op].options``.
    """

    op: str
    values: tuple[OptionValue, ...] = ()

    @property
    def family(self) -> OpFamily:
        """The family of this operation."""
        return FAMILIES[self.op]

    @property
    def options(self) -> Options:
        """All options by their long names."""
        return {
            o.name: v for o, v in zip(self.family.options, self.values, strict=True)
        }

    def __str__(self) -> str:
        codes = "".join(
            f"{option.code}{value}"
            for option, value in zip(self.family.options, self.values, strict=True)
            if option.always_shown or value != option.default
        )
        return f"{self.op}-{codes}" if codes else self.op

    def output_width(self, input_width: int, width: int) -> int:
        """Width of the output in a network of the given default ``width``."""
        return self.family.output_width(self.options, input_width, width)

    def output_length(self, length: Length) -> Length:
        """Frames (int or LongTensor (B,)) that come out of ``length`` frames."""
        return self.family.output_length(self.options, length)

    @property
    def stride(self) -> int:
        """Input frames per output frame."""
        return self.family.stride(self.options)

    @property
    def reach(self) -> tuple[int, int]:
        """Input frames seen to the left and to the right of a frame."""
        return self.family.reach(self.options)


def parse_op(value: Any, where: str) -> OpSpec:
    """Read an operation in short or long form.

    Args:
        value: ``"tdnn-C1D2"`` or ``{"op": "tdnn", "dilation": 2}``.
        where: Place in the configuration, named in errors.

    Raises:
        ConfigError: If the operation, an option or a value is not known.
    """
    if isinstance(value, str):
        name, _, codes = value.partition("-")
        family = _family(name, where)
        given = _parse_codes(codes, family, f"{where}: {shown(value)}")
    elif isinstance(value, Mapping) and "op" in value:
        family = _family(value["op"], where)
        given = {k: v for k, v in value.items() if k != "op"}
        unknown = [k for k in given if k not in {o.name for o in family.options}]
        if unknown:
            raise ConfigError(
                f"{where}: operation '{family.name}' has no option "
                f"{shown(unknown[0])}; accepted are: {family.option_names()}"
            )
    else:
        raise ConfigError(
            f"{where}: {shown(value)} is not an operation; write a string such as "
            "'tdnn-C1D2' or a mapping with the key 'op'"
        )
    where = f"{where}: operation '{family.name}'"
    values = tuple(o.check(given.get(o.name, o.default), where) for o in family.options)
    spec = OpSpec(family.name, values)
    if max(spec.reach) > LARGEST:
        raise ConfigError(
            f"{where} sees {max(spec.reach)} frames to a side; accepted are at most "
            f"{LARGEST}"
        )
    return spec


def _family(name: Any, where: str) -> OpFamily:
    if isinstance(name, str) and name in FAMILIES:
        return FAMILIES[name]
    text = name if isinstance(name, str) else ""
    near = difflib.get_close_matches(text, FAMILIES, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    raise ConfigError(
        f"{where}: unknown operation {shown(name)}{hint}; "
        f"accepted are: {', '.join(FAMILIES)}"
    )


def _parse_codes(codes: str, family: OpFamily, where: str) -> dict[str, OptionValue]:
    by_code = {o.code: o for o in family.options}
    given: dict[str, OptionValue] = {}
    rest = codes
    while rest:
        match = re.match(r"([A-Z])([0-9]+|[a-z]+)", rest)
        option = by_code.get(match[1]) if match else None
        if match is None or option is None or option.name in given:
            raise ConfigError(
                f"{where}: cannot read {shown(rest)}; operation '{family.name}' takes "
                f"each of these options once: {family.option_names()}"
            )
        # Longer numbers are out of range; Python does not even read the longest.
        is_number = match[2].isdigit() and len(match[2]) < 10
        given[option.name] = int(match[2]) if is_number else match[2]
        rest = rest[match.end() :]
    return given
