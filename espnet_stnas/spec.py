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
from typing import Any, TypeVar

from espnet_stnas.families import FAMILIES
from espnet_stnas.family import LARGEST, ConfigError, OpFamily, Options, OptionValue
from espnet_stnas.messages import shown

__all__ = ["FAMILIES", "LARGEST", "ConfigError", "OpSpec", "Options", "parse_op"]

# An int, or anything with integer arithmetic: a LongTensor of lengths (B,).
Length = TypeVar("Length")


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
