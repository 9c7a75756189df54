"""What a derived architecture costs, and whether that is too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from espnet_stnas.cost.counts import macs_table, parameter_table
from espnet_stnas.cost.goal import parse_target
from espnet_stnas.cost.latency import LatencyTable
from espnet_stnas.cost.table import COST_UNITS, MAX_COST, with_unit
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike
from espnet_stnas.messages import one_line, quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture


@dataclass(frozen=True)
class Cost:
    """One cost of one architecture.

    Args:
        kind: ``params``, ``macs`` or ``latency``.
        value: In units of the kind.
        of: What it is the cost of, in words.
    """

    kind: str
    value: float
    of: str

    def __str__(self) -> str:
        return f"{with_unit(self.kind, self.value)} {self.of}"


@dataclass(frozen=True)
class Budget:
    """The most that an architecture may cost.

    Args:
        kind: ``params``, ``macs`` or ``latency``.
        most: In units of the kind.
        name: Whose budget it is.
    """

    kind: str
    most: float
    name: str


def parse_budget(text: str) -> Budget:
    """Read a budget such as ``params=8M``.

    Raises:
        ConfigError: If it is none.
    """
    kind, _, value = text.partition("=")
    if kind not in COST_UNITS:
        raise ConfigError(
            f"max_cost is {quote(text)}; accepted are params=..., macs=... and "
            "latency=... with a number, such as params=8M"
        )
    target = parse_target(value, "max_cost: the number")
    if target.of is not None:
        raise ConfigError(
            f"max_cost is {quote(text)}; accepted is a number, not a share"
        )
    return Budget(kind, target.value, "max_cost")


def search_cost(architecture: Architecture) -> dict[str, Any]:
    """What its search says about the cost of an architecture; empty if nothing.

    Raises:
        ConfigError: If that is damaged.
    """
    cost = architecture.provenance.get("cost")
    if cost is None:
        return {}
    good = isinstance(cost, dict) and cost.get("kind") in list(COST_UNITS)
    numbers = [cost.get("value"), cost.get("target", 1)] if good else []
    frames = cost.get("frames", 1) if good else 0
    if not good or not all(map(_is_cost, numbers)) or type(frames) is not int:
        raise ConfigError(
            f"provenance: cost is {quote(cost)}; accepted is a mapping with a kind "
            f"({', '.join(COST_UNITS)}) and a value"
        )
    return cost


def _is_cost(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < MAX_COST


def target_of_search(architecture: Architecture) -> Optional[Budget]:
    """The target of the search that an architecture comes from, if it had one."""
    cost = search_cost(architecture)
    if "target" not in cost:
        return None
    return Budget(cost["kind"], cost["target"], "the target of its search")


def costs_of(
    architecture: Architecture,
    *,
    input_size: Optional[int] = None,
    frames: Optional[int] = None,
    table: Optional[PathLike] = None,
) -> list[Cost]:
    """The costs of an architecture, as far as they are known.

    Args:
        architecture: The architecture.
        input_size: Dimensions of an input frame; None: as its search says.
        frames: Length of the utterance whose multiply-accumulates count; None: that of
            its search, if that counted them.
        table: File of latencies; None: as its search says.

    Raises:
        ConfigError: If one cannot be had.
    """
    found = search_cost(architecture)
    costs = []
    if input_size is None:
        input_size = architecture.provenance.get("input_size")
    if input_size is not None:
        if type(input_size) is not int:
            raise ConfigError(
                f"provenance: input_size is {quote(input_size)}; accepted is an integer"
            )
        count = parameter_table(architecture.space, input_size).fixed
        costs.append(Cost("params", count, f"with input_size {input_size}"))
        if frames is None and found.get("kind") == "macs":
            frames = found.get("frames")
        if frames is not None:
            count = macs_table(architecture.space, input_size, frames).fixed
            costs.append(Cost("macs", count, f"for {frames} frames"))
    if table is not None and input_size is not None:
        costs.append(_latency(architecture, input_size, table))
    elif found.get("kind") == "latency":
        of = f"for {found.get('frames')} frames, by the table of its search"
        costs.append(Cost("latency", found["value"], of))
    return costs


def _latency(architecture: Architecture, input_size: int, file: PathLike) -> Cost:
    measured = LatencyTable.read(file)
    origin = dict(architecture.provenance.get("space", {}))
    origin.pop("digest", None)
    space = SearchSpace.from_conf(origin) if origin else architecture.space
    value = measured.costs(space, input_size, file).of(space.index(architecture.space))
    of = f"for {measured.frames} frames on {one_line(measured.device)}"
    return Cost("latency", value, f"{of}, {measured.threads} CPU thread(s)")


def excesses(costs: Sequence[Cost], budgets: Sequence[Budget]) -> list[str]:
    """What exceeds a budget, in sentences.

    Args:
        costs: The costs of an architecture.
        budgets: What they may be.

    Raises:
        ConfigError: If a cost that has a budget is not known.
    """
    known = {cost.kind: cost for cost in costs}
    texts = []
    for budget in budgets:
        cost = known.get(budget.kind)
        if cost is None:
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
