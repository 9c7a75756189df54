"""The architectures that a verification trains."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.selection.equal_size import paths_between
from espnet_stnas.selection.limits import AddedCost, Limit
from espnet_stnas.selection.paths import TOLERANCE, PathIndices

KINDS = ("finalist", "random", "baseline")


@dataclass(frozen=True)
class Entrant:
    """An encoder to be trained.

    Args:
        name: Its name, and that of its directory.
        kind: One of ``KINDS``.
        config: The training config with it.
        max_epoch: Epochs of its whole training.
        architecture: The architecture; None: an encoder of ESPnet.
        params: Parameters of the encoder, if known before it is trained.
    """

    name: str
    kind: str
    config: dict[str, Any]
    max_epoch: int
    architecture: Optional[Architecture] = None
    params: Optional[int] = None


def of_equal_size(
    params: AddedCost,
    finalists: Sequence[PathIndices],
    limits: Sequence[Limit],
    *,
    count: int,
    seed: int,
    tolerance: float = TOLERANCE,
) -> list[PathIndices]:
    """Draw different architectures with as many parameters as finalists have.

    They keep the limits, and have no fewer parameters than the smallest finalist and no
    more than the largest one, give or take the tolerance. Finalists are not left out:
    chance may draw them, too.

    Args:
        params: The parameters of the architectures of the space.
        finalists: Their candidate indices.
        limits: Limits that the random ones must keep, as the finalists do.
        count: How many to draw.
        seed: Seed of the draws.
        tolerance: Accepted difference as a share of the finalists' parameters.

    Raises:
        ConfigError: If a number is out of range, or there are not as many.
    """
    if not 0 <= tolerance <= 1:
        raise ConfigError(f"tolerance is {tolerance}; accepted is a number from 0 to 1")
    found = list(map(params.least, finalists))
    bounds = min(found) * (1 - tolerance), max(found) * (1 + tolerance)
    return paths_between(params.space, params, bounds, limits, count=count, seed=seed)


def check_name(option: str, name: str) -> None:
    """Check the name of an encoder, which becomes that of a directory.

    Args:
        option: The option that it comes from.
        name: The name.

    Raises:
        ConfigError: If it cannot be used.
    """
    if not re.fullmatch(r"\w[\w.-]*", name) or name in KINDS:
        raise ConfigError(
            f"{option}: {quote(name)} cannot be the name of an encoder; accepted are "
            f"letters, digits, and _ - . between them, but not {', '.join(KINDS)}"
        )
