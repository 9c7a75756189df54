"""The costs of a derived architecture, and budgets that it must not exceed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from espnet_stnas.cost.counts import macs_table, parameter_table
from espnet_stnas.cost.goal import parse_target
from espnet_stnas.cost.latency_table import LatencyTable
from espnet_stnas.cost.table import with_unit
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike
from espnet_stnas.messages import quote
from espnet_stnas.notation.reach import FRAME_SHIFT, check_frame_shift, view_of
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import COST_UNITS


@dataclass(frozen=True)
class Cost:
    """One cost of one architecture.

    Args:
        kind: ``params``, ``macs``, ``latency`` or ``lookahead``.
        value: The cost, in units of the kind.
        of: Description of what the cost refers to.
    """

    kind: str
    value: float
    of: str

    def __str__(self) -> str:
        return f"{with_unit(self.kind, self.value)} {self.of}"


@dataclass(frozen=True)
class Budget:
    """An upper limit for one cost of an architecture.

    Args:
        kind: ``params``, ``macs``, ``latency`` or ``lookahead``.
        most: The limit, in units of the kind.
        name: Origin of the budget, for messages.
    """

    kind: str
    most: float
    name: str


def parse_budget(text: str) -> Budget:
    """Read a budget such as ``params=8M``.

    Raises:
        ConfigError: If the text is not a budget.
    """
    kind, _, value = text.partition("=")
    if kind not in COST_UNITS:
        raise ConfigError(
            f"max_cost is {quote(text)}; accepted are "
            f"{', '.join(f'{k}=...' for k in COST_UNITS)} with a number, such as "
            "params=8M"
        )
    target = parse_target(value, "max_cost: the number")
    if target.of is not None:
        raise ConfigError(
            f"max_cost is {quote(text)}; accepted is a number, not a share"
        )
    return Budget(kind, target.value, "max_cost")


def target_of_search(architecture: Architecture) -> Optional[Budget]:
    """Return the cost target of the search that found an architecture, if any."""
    cost = architecture.provenance.cost
    if cost is None or cost.target is None:
        return None
    return Budget(cost.kind, cost.target, "the target of its search")


def costs_of(
    architecture: Architecture,
    *,
    input_size: Optional[int] = None,
    frames: Optional[int] = None,
    table: Optional[PathLike] = None,
    frame_shift: Optional[float] = None,
) -> list[Cost]:
    """Return all costs of an architecture that can be computed.

    Args:
        architecture: The architecture.
        input_size: Dimensions of an input frame; None: the value of its search.
        frames: Length of the utterance for multiply-accumulates; None: the value of its
            search, if that search counted them.
        table: File of latencies; None: the file of its search.
        frame_shift: Milliseconds from one input frame to the next, for the look-ahead;
            None: 10, or as the search had it.

    Raises:
        ConfigError: If a cost cannot be computed.
    """
    found = architecture.provenance.cost
    costs = []
    if input_size is None:
        input_size = architecture.provenance.input_size
    if input_size is not None:
        count = parameter_table(architecture.space, input_size).fixed
        costs.append(Cost("params", count, f"with input_size {input_size}"))
        if frames is None and found is not None and found.kind == "macs":
            frames = found.frames
        if frames is not None:
            count = macs_table(architecture.space, input_size, frames).fixed
            costs.append(Cost("macs", count, f"for {frames} frames"))
    if table is not None and input_size is not None:
        costs.append(_latency(architecture, input_size, table))
    elif found is not None and found.kind == "latency":
        of = f"for {found.frames} frames, by the table of its search"
        costs.append(Cost("latency", found.value, of))
    if frame_shift is None and found is not None:
        frame_shift = found.frame_shift
    ahead = view_of(architecture.space).right
    if math.isfinite(ahead):
        shift = FRAME_SHIFT if frame_shift is None else frame_shift
        check_frame_shift(shift)
        of = f"with frames {shift:g} ms apart"
        costs.append(Cost("lookahead", ahead * shift, of))
    return costs


def _latency(architecture: Architecture, input_size: int, file: PathLike) -> Cost:
    measured = LatencyTable.read(file)
    space = architecture.provenance.search_space() or architecture.space
    value = measured.costs(space, input_size, file).of(space.index(architecture.space))
    of = f"for {measured.frames} frames: {measured.conditions}"
    return Cost("latency", value, of)


def excesses(costs: Sequence[Cost], budgets: Sequence[Budget]) -> list[str]:
    """Describe each cost that exceeds a budget in a sentence.

    Args:
        costs: The costs of an architecture.
        budgets: The upper limits.

    Raises:
        ConfigError: If a cost that has a budget is not known.
    """
    known = {cost.kind: cost for cost in costs}
    texts = []
    for budget in budgets:
        cost = known.get(budget.kind)
        if cost is None:
            if budget.kind == "lookahead":
                texts.append(
                    "the architecture looks ahead to the end of the utterance; "
                    f"{budget.name} is {with_unit(budget.kind, budget.most)}"
                )
                continue
            raise ConfigError(
                f"the {COST_UNITS[budget.kind]} of this architecture are unknown, but "
                f"{budget.name} is about them; give input_size, and frames for macs or "
                "latency_table for latency"
            )
        if cost.value > budget.most:
            texts.append(
                f"the architecture has {cost}; {budget.name} is "
                f"{with_unit(budget.kind, budget.most)}"
            )
    return texts
