"""The origin of an architecture, as its file describes it. No torch."""

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
    "lookahead": "ms of look-ahead",
}
# Upper limit of costs and targets. More is a typing error.
MAX_COST = 1e18
PHASES = ("warm-up", "search")
_MOST_EPOCHS = 10**9


@dataclass(frozen=True)
class FoundCost:
    """The cost of the architecture that a search found.

    Args:
        kind: ``params``, ``macs``, ``latency`` or ``lookahead``.
        value: Cost of the architecture, in units of the kind.
        expected: Expected cost under the probabilities.
        weight: Weight of the cost in the architecture loss.
        target: Target of the expected cost.
        frames: Length of the counted or measured utterance in frames.
        frame_shift: Milliseconds from one input frame to the next, for the look-ahead.
    """

    kind: str
    value: float
    expected: Optional[float] = None
    weight: Optional[float] = None
    target: Optional[float] = None
    frames: Optional[int] = None
    frame_shift: Optional[float] = None


@dataclass(frozen=True)
class Provenance:
    """The origin of an architecture; unknown fields are None or empty.

    Only this class knows the keys ``provenance`` of architecture files.

    Args:
        epoch: Number of finished epochs of the search.
        phase: ``search`` if the logits learned in that epoch, otherwise ``warm-up``.
        seed: Seed of the search, or of a random choice.
        probabilities: pi of every choice, by candidates, in order.
        space: The search space's ``encoder_conf``, and its ``digest``.
        versions: Versions of packages.
        input_size: Dimensions of an input frame.
        cost: Cost of the architecture, from the search.
        chosen: ``by hand`` or ``at random``, if no search chose the architecture.
        others: All other keys of the file. They are kept, so that notes of people and
            files of later versions stay readable and complete.

    >>> keys = {"epoch": 7, "phase": "search", "note": "x"}
    >>> provenance = Provenance.from_mapping(keys)
    >>> provenance.epoch, provenance.in_warmup, provenance.seed
    (7, False, None)
    >>> provenance.to_mapping()
    {'epoch': 7, 'phase': 'search', 'note': 'x'}
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
        """Whether the epoch belongs to the warm-up (the logits did not learn)."""
        return self.phase == "warm-up"

    def search_space(self) -> Optional[SearchSpace]:
        """Return the search space of the architecture, if the file contains it.

        Raises:
            ConfigError: If the space is damaged.
        """
        conf = {key: value for key, value in self.space.items() if key != "digest"}
        return SearchSpace.from_conf(conf) if conf else None

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Provenance:
        """Read and check the key ``provenance`` of an architecture file.

        Raises:
            ConfigError: If a value is not of the expected kind.
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
        """Return the key ``provenance`` of a file, made of plain containers."""
        data = _known(self, [f.name for f in fields(self) if f.name != "others"])
        if self.probabilities:
            data["probabilities"] = [dict(pi) for pi in self.probabilities]
        if self.cost is not None:
            data["cost"] = _known(self.cost, [f.name for f in fields(self.cost)])
        return {**data, **self.others}


def _known(one: object, names: Sequence[str]) -> dict[str, Any]:
    """Return the attributes that are known, by name."""
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
    """Build the provenance of an architecture that a search found.

    Args:
        space: The search space.
        probabilities: pi of every choice, in order.
        epoch: Number of finished epochs.
        seed: Seed of the search.
        searching: Whether the logits learned in this epoch (not in warm-up).
        input_size: Dimensions of an input frame.
        cost: Cost of the architecture.
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
    names = ("value", "expected", "weight", "target", "frame_shift")
    numbers = [value[name] for name in names if name in value]
    frames = value.get("frames", 1)
    return "value" in value and all(map(_is_number, numbers)) and type(frames) is int


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < MAX_COST


# For each key, a test of its value, and the accepted values in words.
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
