"""The cost term of a search: a weight, and optionally a target."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

import torch

from espnet_stnas.cost.counts import macs_table, parameter_table
from espnet_stnas.cost.latency_table import LatencyTable
from espnet_stnas.cost.lookahead import look_ahead_table
from espnet_stnas.cost.table import (
    CostTable,
    same_operation,
    with_unit,
)
from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators.base import probabilities
from espnet_stnas.messages import format_keys, quote
from espnet_stnas.notation.family import MAX_SIZE
from espnet_stnas.notation.reach import FRAME_SHIFT, check_frame_shift
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.provenance import COST_UNITS, MAX_COST

FRAMES = 1000
_CONDITIONS = ("runtime", "precision", "device")
_OWN_KEYS = {
    "params": (),
    "macs": ("frames",),
    "latency": ("table", *_CONDITIONS),
    "lookahead": ("frame_shift",),
}
_FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,15})?(?:[eE][+]?[0-9]{1,2})?)"


@dataclass(frozen=True)
class CostOptions:
    """The option ``cost_conf`` of a search, after the checks that need no search space.

    Args:
        kind: ``params``, ``macs``, ``latency`` or ``lookahead``.
        weight: Weight of the cost in the architecture loss; 0: only report the cost.
        target: Upper limit of the expected cost: a number in units of the kind, ``8M``,
            ``60%`` of the most expensive architecture, or ``60% of tdnn-C2D2``, the
            architecture that has this candidate in every choice. None: no limit; the
            weight alone balances cost and loss.
        frames: Length of the utterance for multiply-accumulates, in frames.
        table: File of the latencies.
        runtime: Runtime that they must be of; None: any.
        precision: Precision that they must be of; None: any.
        device: Part of the name of the device that they must be of; None: any.
        frame_shift: Milliseconds from one input frame to the next, for the look-ahead.
    """

    kind: str
    weight: float
    target: Union[float, str, None] = None
    frames: int = FRAMES
    table: Optional[str] = None
    runtime: Optional[str] = None
    precision: Optional[str] = None
    device: Optional[str] = None
    frame_shift: float = FRAME_SHIFT

    @classmethod
    def from_conf(cls, conf: Any) -> CostOptions:
        """Read and check ``cost_conf``.

        Raises:
            ConfigError: If something in it is wrong.
        """
        if not isinstance(conf, Mapping):
            raise ConfigError(
                f"cost_conf is {quote(conf)}; accepted is a mapping of kind, weight "
                "and others"
            )
        kind = conf.get("kind")
        if not isinstance(kind, str) or kind not in COST_UNITS:
            raise ConfigError(
                f"cost_conf: kind is {quote(kind)}; accepted are: "
                f"{', '.join(COST_UNITS)}"
            )
        accepted = ("kind", "weight", "target", *_OWN_KEYS[kind])
        unknown = [key for key in conf if key not in accepted]
        if unknown:
            raise ConfigError(
                f"cost_conf: unknown key {quote(unknown[0])} (found "
                f"{format_keys(conf)}); with kind '{kind}', accepted are: "
                f"{', '.join(accepted)}"
            )
        # A missing value gives the same message as a value that is no number.
        options = cls(**{"weight": None, **conf})
        options._check()
        return options

    def _check(self) -> None:
        weight = self.weight
        if type(weight) not in (int, float) or not 0 <= weight <= MAX_SIZE:
            given = "missing" if weight is None else quote(weight)
            raise ConfigError(
                f"cost_conf: weight is {given}; accepted is a number from 0 to "
                f"{MAX_SIZE} (0: the cost is reported, and steers nothing)"
            )
        if type(self.frames) is not int or not 1 <= self.frames <= MAX_SIZE:
            raise ConfigError(
                f"cost_conf: frames is {quote(self.frames)}; accepted is an integer "
                f"from 1 to {MAX_SIZE}"
            )
        if self.kind == "latency" and not isinstance(self.table, str):
            raise ConfigError(
                f"cost_conf: table is {quote(self.table)}; kind 'latency' needs the "
                "file that stnas measure-latency wrote"
            )
        for key in _CONDITIONS:
            value = getattr(self, key)
            if value is not None and not isinstance(value, str):
                raise ConfigError(
                    f"cost_conf: {key} is {quote(value)}; accepted is a text, of which "
                    "the latencies must be"
                )
        check_frame_shift(self.frame_shift, "cost_conf: ")
        if self.target is not None:
            parse_target(self.target)


@dataclass(frozen=True)
class Target:
    """A cost target as the user wrote it.

    Args:
        value: A cost, or a share of the cost of an architecture.
        of: The share refers to the architecture with this operation in every choice;
            empty: to the most expensive architecture; None: ``value`` is a cost.
    """

    value: float
    of: Optional[str] = None

    def resolve(self, space: SearchSpace, table: CostTable) -> float:
        """Convert the target to units of the table.

        Raises:
            ConfigError: If the operation is not a candidate of every choice.
        """
        if self.of is None:
            return self.value
        whole = table.of(same_operation(space, self.of)) if self.of else table.maximum
        return self.value * whole


def parse_target(value: Any, where: str = "cost_conf: target") -> Target:
    """Read a target: a number, ``8M``, ``60%`` or ``60% of tdnn-C2D2``.

    Raises:
        ConfigError: If the value is not a target, or not above 0.
    """
    target = None
    if type(value) in (int, float) and 0 < value < MAX_COST:
        target = Target(float(value))
    elif isinstance(value, str):
        if cost := re.fullmatch(rf"{_NUMBER} ?([kMG]?)", value):
            target = Target(float(cost[1]) * _FACTORS[cost[2]])
        elif share := re.fullmatch(rf"{_NUMBER} ?%(?: of (\S+))?", value):
            target = Target(float(share[1]) / 100, share[2] or "")
    if target is None or not 0 < target.value < MAX_COST:
        raise ConfigError(
            f"{where} is {quote(value)}; accepted is a number above 0, also with k, M "
            "or G ('8M'), a share of the most expensive architecture ('60%'), or of "
            "the one with one candidate in every choice ('60% of tdnn-C2D2')"
        )
    return target


@dataclass(frozen=True)
class CostTerm:
    """The cost part of the architecture loss.

    With weight lambda and no target, the loss is lambda E[c] / c_max, where c_max is
    the cost of the most expensive architecture. With a target T, it is lambda max(0,
    E[c] / T - 1).

    Args:
        table: The costs.
        weight: The weight lambda.
        target: The target T, in units of the table.
        frames: Length of the utterance in frames; None if the cost does not depend on
            it.

    >>> table = CostTable("params", 10.0, ((2.0, 6.0),))
    >>> term = CostTerm(table, weight=1.0, target=10.0)
    >>> round(term.loss([torch.tensor([0.5, 0.5])]).item(), 3)  # E[c] is 14
    0.4
    """

    table: CostTable
    weight: float
    target: Optional[float] = None
    frames: Optional[int] = None

    def loss(self, pi: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the loss ().

        Args:
            pi: The probabilities of all choices, in order: (K_1,), (K_2,), ...
        """
        expected = self.table.expected_cost(pi)
        if self.target is None:
            # If every architecture has cost 0, there is nothing to reduce.
            return self.weight * expected / max(self.table.maximum, 1e-9)
        return self.weight * (expected / self.target - 1).clamp(min=0)

    def gradients(
        self, logits: Sequence[torch.Tensor]
    ) -> tuple[float, list[torch.Tensor]]:
        """Return the loss, and its gradients by the logits (K_1,), (K_2,), ...

        The computation uses float64 on the CPU, so that all ranks get equal results.
        """
        copies = [a.detach().double().cpu().requires_grad_() for a in logits]
        with torch.enable_grad():
            loss = self.loss([probabilities(a) for a in copies])
        gradients = torch.autograd.grad(loss, copies)
        return float(loss.detach()), [
            g.to(a.device, a.dtype) for g, a in zip(gradients, logits, strict=True)
        ]


def build_term(space: SearchSpace, input_size: int, options: CostOptions) -> CostTerm:
    """Build the cost term of a search.

    Args:
        space: The search space.
        input_size: Dimensions of an input frame.
        options: The cost options of the search.

    Raises:
        ConfigError: If there are no costs, or no architecture meets the target.
    """
    frames: Optional[int] = None
    table: CostTable
    if options.kind == "params":
        table = parameter_table(space, input_size)
    elif options.kind == "macs":
        frames = options.frames
        try:
            table = macs_table(space, input_size, frames)
        except ConfigError as error:
            raise ConfigError(f"cost_conf: {error}") from None
    elif options.kind == "lookahead":
        try:
            table = look_ahead_table(space, options.frame_shift)
        except ConfigError as error:
            raise ConfigError(f"cost_conf: {error}") from None
    else:
        assert options.table is not None
        measured = LatencyTable.read(options.table)
        measured.require(
            options.table,
            "cost_conf: ",
            **{key: getattr(options, key) for key in _CONDITIONS},
        )
        logging.info(f"Latencies of {options.table}: {measured.conditions}")
        frames = measured.frames
        table = measured.costs(space, input_size, options.table)
    target: Optional[float] = None
    if options.target is not None:
        try:
            target = parse_target(options.target).resolve(space, table)
        except ConfigError as error:
            raise ConfigError(f"cost_conf: target: {error}") from None
        refuse_unreachable(table, target, "cost_conf: target")
    return CostTerm(table, float(options.weight), target, frames)


def refuse_unreachable(table: CostTable, target: float, where: str) -> None:
    """Refuse a target that no architecture meets.

    Args:
        table: The costs of the space.
        target: Upper limit of the cost, in units of the table.
        where: The option that sets the target, for the message.

    Raises:
        ConfigError: If no architecture meets the target.
    """
    if table.minimum > target:
        raise ConfigError(
            f"{where}: no architecture of this space has at most "
            f"{with_unit(table.kind, target)}; the cheapest has "
            f"{with_unit(table.kind, table.minimum)}"
        )
