"""Operation specs: names, options and geometry of operations. No torch.

Users write an operation in a short form, as in the code of the ST-NAS paper
(``tdnn-C2D1Nln``), or in a long form (``{op: tdnn, context: 2, dilation: 1}``).
Both give the same :class:`OpSpec`; ``str`` gives its canonical short form. ``+`` joins
several operations to a chain, which counts as one operation.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, TypeVar

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote
from espnet_stnas.notation.families import FAMILIES
from espnet_stnas.notation.family import MAX_SIZE, OpFamily, Options, OptionValue
from espnet_stnas.notation.lengths import Lengths
from espnet_stnas.notation.plugins import load_plugins
from espnet_stnas.notation.view import View

__all__ = [
    "FAMILIES",
    "ChainSpec",
    "ConfigError",
    "OpSpec",
    "Options",
    "parse_op",
]

# An int, or anything with integer arithmetic, such as a LongTensor of lengths (B,).
Length = TypeVar("Length")


@dataclass(frozen=True)
class OpSpec:
    """One operation with the values of all its options.

    Args:
        op: Name of its family.
        values: Option values in the order of ``FAMILIES[op].options``.

    >>> op = parse_op("tdnn-C2S3D1", "layers[1]")
    >>> op.options["stride"], op.output_length(31), op.reach
    (3, 11, (2, 2))
    >>> str(op)
    'tdnn-C2S3D1'
    """

    op: str
    values: tuple[OptionValue, ...] = ()

    @property
    def family(self) -> OpFamily:
        """The family of this operation."""
        return FAMILIES[self.op]

    @cached_property
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
        """Return the output width in a network of default width ``width``."""
        return self.family.output_width(self.options, input_width, width)

    def output_length(self, length: Length) -> Length:
        """Return the number of output frames.

        Args:
            length: Input frames: an int, or a LongTensor (B,).
        """
        return self.lengths(length)

    @cached_property
    def lengths(self) -> Lengths:
        """The number of output frames, as a map of input frames."""
        return self.family.lengths(self.options)

    @property
    def stride(self) -> int:
        """Input frames per output frame."""
        return self.lengths.stride

    @cached_property
    def view(self) -> View:
        """The input frames that an output frame depends on."""
        left, right = self.family.reach(self.options)
        chunk = self.family.chunk(self.options)
        return View.of(left, right, self.stride, chunk)

    @property
    def reach(self) -> tuple[float, float]:
        """Input frames to the left and right that an output frame depends on."""
        return self.view.left, self.view.right


@dataclass(frozen=True)
class ChainSpec(OpSpec):
    """Several operations in sequence as one candidate: ``tdnn-C1S3D1+tdnn-C1D1``.

    With chains, the candidates of one choice can differ in their inner widths, or in
    the place where they subsample.

    Args:
        op: ``chain``.
        values: Empty.
        parts: The operations.
    """

    op: str = "chain"
    parts: tuple[OpSpec, ...] = ()

    @property
    def family(self) -> OpFamily:
        """The family of all chains; it has no options."""
        return _CHAIN

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))

    def output_width(self, input_width: int, width: int) -> int:
        """Return the output width of the last operation."""
        for part in self.parts:
            input_width = part.output_width(input_width, width)
        return input_width

    @cached_property
    def lengths(self) -> Lengths:
        """The number of output frames of the last operation."""
        return reduce(Lengths.then, (part.lengths for part in self.parts))

    @cached_property
    def view(self) -> View:
        """The input frames that an output frame depends on."""
        return reduce(View.then, (part.view for part in self.parts))


_CHAIN = OpFamily("chain", "espnet_stnas.ops.chain:Chain")
_LONGEST_CHAIN = 10


def parse_op(value: Any, where: str) -> OpSpec:
    """Read an operation or a chain of operations, in short or long form.

    Args:
        value: ``"tdnn-C1D2"`` or ``{"op": "tdnn", "dilation": 2}``; for a chain,
            ``"tdnn-C1D1+tdnn-C1D2"`` or ``{"chain": [...]}``.
        where: Place in the configuration, named in errors.

    Raises:
        ConfigError: If the operation, an option or a value is not known.

    >>> str(parse_op("tdnn-D2C1", "layers[1]"))
    'tdnn-C1D2'
    >>> str(parse_op({"op": "tdnn", "dilation": 2}, "layers[1]"))
    'tdnn-C1D2'
    """
    if isinstance(value, str) and "+" in value:
        return _parse_chain(value.split("+", _LONGEST_CHAIN + 1), where)
    if isinstance(value, Mapping) and set(value) == {"chain"}:
        return _parse_chain(value["chain"], where)
    if isinstance(value, str):
        name, _, codes = value.partition("-")
        family = _family(name, where)
        given = _parse_codes(codes, family, f"{where}: {quote(value)}")
    elif isinstance(value, Mapping) and "op" in value:
        family = _family(value["op"], where)
        given = {k: v for k, v in value.items() if k != "op"}
        unknown = [k for k in given if k not in {o.name for o in family.options}]
        if unknown:
            raise ConfigError(
                f"{where}: operation '{family.name}' has no option "
                f"{quote(unknown[0])}; accepted are: {family.option_names()}"
            )
    else:
        raise ConfigError(
            f"{where}: {quote(value)} is not an operation; write a string such as "
            "'tdnn-C1D2' or a mapping with the key 'op'"
        )
    where = f"{where}: operation '{family.name}'"
    values = tuple(o.check(given.get(o.name, o.default), where) for o in family.options)
    spec = OpSpec(family.name, values)
    if wrong := family.check(spec.options):
        raise ConfigError(f"{where}: {wrong}")
    finite = [frames for frames in spec.reach if math.isfinite(frames)]
    if max(finite, default=0) > MAX_SIZE:
        raise ConfigError(
            f"{where} sees {max(finite)} frames to a side; accepted are at most "
            f"{MAX_SIZE}"
        )
    return spec


def _parse_chain(parts: Any, where: str) -> ChainSpec:
    if not isinstance(parts, (list, tuple)) or not 2 <= len(parts) <= _LONGEST_CHAIN:
        raise ConfigError(
            f"{where}: the chain {quote(parts)} is not accepted; accepted are 2 to "
            f"{_LONGEST_CHAIN} operations"
        )
    specs: list[OpSpec] = []
    for number, part in enumerate(parts, start=1):
        place = f"{where}: operation {number} of the chain"
        # Checked before it is read, since a chain can hold itself.
        if (isinstance(part, Mapping) and "chain" in part) or (
            isinstance(part, str) and "+" in part
        ):
            raise ConfigError(
                f"{place} is the chain {quote(part)}; accepted is a single operation"
            )
        specs.append(parse_op(part, place))
    return ChainSpec(parts=tuple(specs))


def _family(name: Any, where: str) -> OpFamily:
    if isinstance(name, str) and name not in FAMILIES:
        load_plugins()
    if isinstance(name, str) and name in FAMILIES:
        return FAMILIES[name]
    text = name if isinstance(name, str) else ""
    near = difflib.get_close_matches(text, FAMILIES, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    raise ConfigError(
        f"{where}: unknown operation {quote(name)}{hint}; "
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
                f"{where}: cannot read {quote(rest)}; operation '{family.name}' takes "
                f"each of these options once: {family.option_names()}"
            )
        # Longer numbers are out of range, and Python refuses to read very long ones.
        is_number = match[2].isdigit() and len(match[2]) < 10
        given[option.name] = int(match[2]) if is_number else match[2]
        rest = rest[match.end() :]
    return given
