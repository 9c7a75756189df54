"""Where an architecture comes from, as its file says. No torch."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote
from espnet_stnas.notation.family import MAX_SIZE
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.version import __version__

# Kinds of cost and their units.
COST_UNITS = {
    "params": "parameters",
    "macs": "multiply-accumulates",
    "latency": "microseconds",
}
# No cost or target is larger; what is, is a slip of the pen.
MAX_COST = 1e18
PHASES = ("warm-up", "search")
_MOST_EPOCHS = 10**9


@dataclass(frozen=True)
class FoundCost:
    """What a search says of the cost of the architecture that it found.

    Args:
        kind: ``params``, ``macs`` or ``latency``.
        value: Cost of the architecture, in units of the kind.
        expected: Expected cost under the probabilities.
        weight: Weight of the cost in the architecture loss.
        target: What the expected cost should not exceed.
        frames: Length of the utterance that was counted or measured, in frames.
    """

    kind: str
    value: float
    expected: Optional[float] = None
    weight: Optional[float] = None
    target: Optional[float] = None
    frames: Optional[int] = None


@dataclass(frozen=True)
class Provenance:
    """Where an architecture comes from; what is not known is None or empty.

    This is the only place that knows the keys ``provenance`` of architecture files.

    Args:
        epoch: Finished epochs of the search.
        phase: ``warm-up`` or ``search``: whether the logits learned in that epoch.
        seed: Seed of the search, or of a random choice.
        probabilities: pi of every choice, by candidates, in order.
        space: The search space's ``encoder_conf``, and its ``digest``.
        versions: Versions of packages.
        input_size: Dimensions of an input frame.
        cost: What the search says of the architecture's cost.
        chosen: How, if no search chose it: ``by hand`` or ``at random``.
        others: Whatever else a file says. It is kept: files of later versions, and
            notes of people, must not make an architecture unreadable, nor get lost.
    """

    epoch: Optional[int] = None
    phase: Optional[str] = None
    seed: Optional[int] = None
    probabilities: tuple[Mapping[str, float], ...] = ()
    space: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    input_size: Optional[int] = None
    cost: Optional[FoundCost] = None
    chosen: Optional[str] = None
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def in_warmup(self) -> bool:
        """Whether the logits did not learn yet."""
        return self.phase == "warm-up"

    def search_space(self) -> Optional[SearchSpace]:
        """The space that the architecture was found in, if the file tells.

        Raises:
            ConfigError: If that is damaged.
        """
        conf = {key: value for key, value in self.space.items() if key != "digest"}
        return SearchSpace.from_conf(conf) if conf else None

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Provenance:
        """Read and check the key ``provenance`` of an architecture file.

        Raises:
            ConfigError: If a value is not what its key promises.
        """
        for key, (accepts, accepted) in _ACCEPTED.items():
            if key in data and not accepts(data[key]):
                raise ConfigError(
                    f"provenance: {key} is {quote(data[key])}; accepted is {accepted}"
                )
        found = {key: data[key] for key in _ACCEPTED if key in data}
        if "probabilities" in found:
            found["probabilities"] = tuple(found["probabilities"])
        if "cost" in found:
            names = {f.name for f in fields(FoundCost)}
            found["cost"] = FoundCost(
                **{k: v for k, v in found["cost"].items() if k in names}
            )
        others = {key: value for key, value in data.items() if key not in _ACCEPTED}
        return cls(**found, others=others)

    def to_mapping(self) -> dict[str, Any]:
        """The key ``provenance`` of an architecture file: plain containers only."""
        data = _known(self, [f.name for f in fields(self) if f.name != "others"])
        if self.probabilities:
            data["probabilities"] = [dict(pi) for pi in self.probabilities]
        if self.cost is not None:
            data["cost"] = _known(self.cost, [f.name for f in fields(self.cost)])
        return {**data, **self.others}


def _known(one: object, names: Sequence[str]) -> dict[str, Any]:
    """The values of some attributes that are known, by name."""
    values = {name: getattr(one, name) for name in names}
    values = {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    return {k: v for k, v in values.items() if v is not None and v not in ((), {})}


def search_provenance(
    space: SearchSpace,
    probabilities: Sequence[Sequence[float]],
    *,
    epoch: int,
    seed: int,
    searching: bool,
    input_size: Optional[int] = None,
    cost: Optional[FoundCost] = None,
) -> Provenance:
    """What an architecture file says about the search it comes from.

    Args:
        space: The search space.
        probabilities: pi of every choice, in order.
        epoch: Finished epochs.
        seed: Seed of the search.
        searching: Whether the logits were trained in this epoch (not in warm-up).
        input_size: Dimensions of an input frame.
        cost: What the search says of the architecture's cost.
    """
    return Provenance(
        epoch=epoch,
        phase="search" if searching else "warm-up",
        seed=seed,
        probabilities=tuple(
            {
                str(op): round(float(p), 6)
                for op, p in zip(layer.candidates, pi, strict=True)
            }
            for layer, pi in zip(space.choices, probabilities, strict=True)
        ),
        space={"digest": space.digest, **space.to_conf()},
        versions={
            "espnet_stnas": __version__,
            "espnet": _installed("espnet"),
            "torch": _installed("torch"),
            "python": platform.python_version(),
        },
        input_size=input_size,
        cost=cost,
    )


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _integer(least: int, most: float) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _is_space(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("layers", []), list)


def _are_probabilities(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(choice, dict)
        and all(
            isinstance(op, str) and type(p) in (int, float) and 0 <= p <= 1
            for op, p in choice.items()
        )
        for choice in value
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


def _is_cost(value: Any) -> bool:
    if not isinstance(value, dict) or value.get("kind") not in list(COST_UNITS):
        return False
    names = ("value", "expected", "weight", "target")
    numbers = [value[name] for name in names if name in value]
    frames = value.get("frames", 1)
    return "value" in value and all(map(_is_number, numbers)) and type(frames) is int


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < MAX_COST


# What is accepted for each key, as a test and in words.
_ACCEPTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "epoch": (_integer(0, _MOST_EPOCHS), f"an integer from 0 to {_MOST_EPOCHS}"),
    "phase": (lambda v: v in PHASES, f"one of {', '.join(PHASES)}"),
    "seed": (_integer(-(2**63), math.inf), "an integer"),
    "probabilities": (
        _are_probabilities,
        "a list with a mapping from operations to numbers from 0 to 1 for each choice",
    ),
    "space": (_is_space, "a mapping with a list of layers"),
    "versions": (_are_texts, "a mapping from packages to versions"),
    "input_size": (_integer(1, MAX_SIZE), f"an integer from 1 to {MAX_SIZE}"),
    "cost": (
        _is_cost,
        f"a mapping with a kind ({', '.join(COST_UNITS)}) and a value",
    ),
    "chosen": (lambda v: isinstance(v, str), "a text"),
}
