"""Costs of all architectures of a space, and the most that they may be."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Optional

from espnet_stnas.cost.counts import macs_table, parameter_table
from espnet_stnas.cost.goal import FRAMES, parse_target
from espnet_stnas.cost.latency_table import LatencyTable
from espnet_stnas.cost.table import CostTable, same_operation, with_unit
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike
from espnet_stnas.messages import one_line, quote
from espnet_stnas.notation.reach import (
    FRAME_SHIFT,
    View,
    check_frame_shift,
    narrowest_view,
    view_of,
)
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.topology import Layer
from espnet_stnas.results.provenance import COST_UNITS
from espnet_stnas.selection.paths import PathIndices

UNITS = {
    **COST_UNITS,
    "field": "frames of receptive field",
}


class Measure(ABC):
    """One kind of cost of all architectures.

    Args:
        kind: Its name, a key of ``UNITS``.
        space: The search space.
    """

    origin = ""
    """Where it comes from, if that is not the space alone."""

    def __init__(self, kind: str, space: SearchSpace) -> None:
        self.kind = kind
        self.space = space

    @property
    @abstractmethod
    def maximum(self) -> float:
        """The cost of the largest architecture."""

    @abstractmethod
    def least(self, prefix: PathIndices) -> float:
        """Return a bound below all architectures that begin with these candidates.

        Of a whole architecture, this is its cost.
        """

    def text(self, value: float) -> str:
        """Return a cost with its unit."""
        if math.isinf(value):
            return f"all {UNITS[self.kind]}"
        if self.kind in COST_UNITS:
            return with_unit(self.kind, value)
        return f"{value:,.0f} {UNITS[self.kind]}"


class AddedCost(Measure):
    """Parameters, multiply-accumulates or latency: a sum over choices.

    Args:
        table: The costs.
        space: The search space.
        origin: How they were measured.
    """

    def __init__(self, table: CostTable, space: SearchSpace, origin: str = "") -> None:
        super().__init__(table.kind, space)
        self.origin = origin
        self.table = table
        # Sums of the cheapest candidates from each choice on.
        rest = [0.0]
        for costs in reversed(table.choices):
            rest.append(rest[-1] + min(costs))
        self._rest = rest[::-1]

    @property
    def maximum(self) -> float:
        """The cost of the largest architecture."""
        return self.table.maximum

    def least(self, prefix: PathIndices) -> float:
        """Return a bound below all architectures that begin with these candidates."""
        chosen = zip(self.table.choices, prefix, strict=False)
        own = sum(costs[k] for costs, k in chosen)
        return self.table.fixed + own + self._rest[len(prefix)]


class Field(Measure):
    """Receptive field in frames of the encoder's input, or look-ahead in ms.

    Args:
        kind: ``field`` or ``lookahead``.
        space: The search space.
        frame_shift: Milliseconds from one input frame to the next.
    """

    def __init__(self, kind: str, space: SearchSpace, frame_shift: float) -> None:
        super().__init__(kind, space)
        self.frame_shift = frame_shift

    @cached_property
    def maximum(self) -> float:
        """The value of the largest architecture; infinite for whole utterances."""
        return self._value(view_of(self.space))

    @lru_cache(maxsize=100_000)  # noqa: B019 (it lives as long as a selection)
    def least(self, prefix: PathIndices) -> float:
        """Return a bound below all architectures that begin with these candidates."""
        layers = tuple(
            Layer((layer.candidates[prefix[number]],), place=layer.place)
            if number is not None and number < len(prefix)
            else layer
            for layer, number in zip(
                self.space.layers, self.space.choice_numbers, strict=True
            )
        )
        return self._value(narrowest_view(replace(self.space, layers=layers)))

    def _value(self, view: View) -> float:
        if self.kind == "lookahead":
            return view.right * self.frame_shift
        return view.left + 1 + view.right


@dataclass(frozen=True)
class Limit:
    """An upper limit of a cost.

    Args:
        measure: The cost.
        most: The limit, in units of the cost.
        name: Its origin, for messages.
    """

    measure: Measure
    most: float
    name: str

    def allows(self, prefix: PathIndices) -> bool:
        """Return whether an architecture that begins so may keep the limit."""
        # Sums of measured times are not exact.
        return self.measure.least(prefix) <= self.most * (1 + 1e-12)


def allowed(limits: Sequence[Limit], prefix: PathIndices) -> bool:
    """Return whether an architecture that begins so may keep all limits."""
    return all(limit.allows(prefix) for limit in limits)


class Measures:
    """Makes the costs of a space, each when it is needed.

    Args:
        space: The search space.
        input_size: Dimensions of an input frame; None if not known.
        frames: Length of the utterance for multiply-accumulates.
        latency_table: File of latencies.
        latency_device: Part of the name of the device that they must be of.
        latency_runtime: Runtime that they must be of.
        latency_precision: Precision that they must be of.
        frame_shift: Milliseconds from one input frame to the next; None: 10.

    Raises:
        ConfigError: If the frame shift is not above 0.
    """

    def __init__(
        self,
        space: SearchSpace,
        input_size: Optional[int],
        *,
        frames: Optional[int] = None,
        latency_table: Optional[PathLike] = None,
        latency_device: Optional[str] = None,
        latency_runtime: Optional[str] = None,
        latency_precision: Optional[str] = None,
        frame_shift: Optional[float] = None,
    ) -> None:
        self.space = space
        self.input_size = input_size
        self._frames = FRAMES if frames is None else frames
        self._latency_table = latency_table
        self._latency = {
            "device": latency_device,
            "runtime": latency_runtime,
            "precision": latency_precision,
        }
        self._frame_shift = FRAME_SHIFT if frame_shift is None else frame_shift
        check_frame_shift(self._frame_shift)
        self._made: dict[str, Measure] = {}

    def __getitem__(self, kind: str) -> Measure:
        """Return the costs of a kind.

        Raises:
            ConfigError: If there is no such kind, or something that it needs is
                missing.
        """
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    def _make(self, kind: str) -> Measure:
        if kind not in UNITS:
            raise ConfigError(
                f"{quote(kind)} is no kind of cost; accepted are: {', '.join(UNITS)}"
            )
        if kind in ("field", "lookahead"):
            return Field(kind, self.space, self._frame_shift)
        if self.input_size is None:
            raise ConfigError(
                f"the {COST_UNITS[kind]} of this space are unknown, since its "
                "architectures do not say the input size; give --input_size"
            )
        if kind == "params":
            table = parameter_table(self.space, self.input_size)
        elif kind == "macs":
            table = macs_table(self.space, self.input_size, self._frames)
        else:
            return self._latencies(self.input_size)
        return AddedCost(table, self.space)

    def _latencies(self, input_size: int) -> AddedCost:
        file = self._latency_table
        if file is None:
            raise ConfigError(
                "latencies are not known; give --latency_table, a file that stnas "
                "measure-latency wrote"
            )
        measured = LatencyTable.read(file)
        measured.require(file, "latency_", **self._latency)
        table = measured.costs(self.space, input_size, file)
        return AddedCost(table, self.space, measured.conditions)

    def limit(self, text: str) -> Limit:
        """Read a limit such as ``params=8M``, ``latency=60%`` or ``field=40``.

        Shares are of the largest architecture, or of one with the same candidate in
        every choice (``60% of tdnn-C2D2``).

        Raises:
            ConfigError: If the text is no limit, or no architecture keeps it.
        """
        kind, equals, value = text.partition("=")
        if not equals or kind not in UNITS:
            raise ConfigError(
                f"max is {quote(text)}; accepted are {', '.join(UNITS)} with a number "
                "or a share, such as params=8M or latency=60%"
            )
        target = parse_target(value, f"max: {kind}")
        measure = self[kind]
        most = target.value
        if target.of is not None:
            whole = measure.maximum
            if target.of:
                try:
                    whole = measure.least(same_operation(self.space, target.of))
                except ConfigError as error:
                    raise ConfigError(f"max: {kind}: {error}") from None
            most = target.value * whole
            if math.isinf(most):
                raise ConfigError(
                    f"max is {quote(text)}, but the largest architecture sees the "
                    f"whole utterance; accepted is a number: {UNITS[kind]}"
                )
        return Limit(measure, most, f"max {one_line(text)}")


def refuse_unreachable(limits: Sequence[Limit]) -> None:
    """Refuse limits that no architecture keeps, each by itself.

    Raises:
        ConfigError: If there is one; the message says how small architectures can be.
    """
    for limit in limits:
        if not limit.allows(()):
            measure = limit.measure
            raise ConfigError(
                f"{limit.name}: no architecture of this space has at most "
                f"{measure.text(limit.most)}; the cheapest has "
                f"{measure.text(measure.least(()))}"
            )


def none_left(limits: Sequence[Limit]) -> ConfigError:
    """Return the error that no architecture keeps several limits at once."""
    names = " and ".join(limit.name for limit in limits)
    least = " and ".join(
        limit.measure.text(limit.measure.least(())) for limit in limits
    )
    return ConfigError(
        f"no architecture of this space keeps {names} together; the cheapest ones have "
        f"{least}, and these are different ones"
    )
