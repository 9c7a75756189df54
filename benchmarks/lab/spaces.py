"""The search spaces of the laboratory, and architectures drawn from them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from typing import Any

from espnet_stnas.notation.space import SearchSpace

Path = tuple[int, ...]

TDNN = ("tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1", "tdnn-C2D2")
CONFORMER = (
    "conformer-H4K15F96",
    "conformer-H4K7F96",
    "conformer-H4K31F96",
    "conformer-H2K15F96",
    "conformer-H4K15F192",
    "identity",
)
MIXED = (
    "conformer-H4K15F96",
    "conformer-H4K15F192",
    "ebranchformer-H4K15G96F96",
    "tdnn-C1D1",
    "tdnn-C2D2",
    "identity",
)
# Equal in size; they differ in what they see after the present frame.
CAUSAL = (
    "tdnn-C4R0D1",
    "tdnn-C4R0D2",
    "tdnn-C3R1D1",
    "tdnn-C3R1D2",
    "tdnn-C2D1",
    "tdnn-C2D2",
)
# The paper's candidates, or no layer, so that half of the largest can be reached.
DEPTH = (*TDNN, "identity")
CANDIDATES = {
    "tdnn": TDNN,
    "depth": DEPTH,
    "causal": CAUSAL,
    "conformer": CONFORMER,
    "mixed": MIXED,
}
CHOICES = {"tdnn": 6, "depth": 5, "causal": 6, "conformer": 3, "mixed": 3}


def space_of(name: str, choices: Sequence[Any]) -> SearchSpace:
    """Return a space of the digits recipe, or an architecture of it.

    Args:
        name: A key of ``CANDIDATES``.
        choices: What stands at each choice: candidates or one operation.
    """
    if name in ("tdnn", "depth", "causal"):
        strided = "tdnn-C2R0S3D1" if name == "causal" else "tdnn-C1S3D1"
        # No layer cannot stand first, since it leaves the width of the features.
        first = ["tdnn-C1D1"] if name == "depth" else []
        half = CHOICES[name] // 2
        layers = [*first, *choices[:half], strided, *choices[half:]]
        conf = {"width": 64, "dropout_rate": 0.1, "residual": True, "layers": layers}
    else:
        layers = ["conv2d-S2", "positions-Prel", *choices, "norm"]
        conf = {"width": 48, "dropout_rate": 0.1, "layers": layers}
    return SearchSpace.from_conf(conf)


def searched(name: str, sharing: str) -> SearchSpace:
    """Return the search space."""
    choices = [list(CANDIDATES[name])] * CHOICES[name]
    conf = {**space_of(name, choices).to_conf(), "sharing": sharing}
    return SearchSpace.from_conf(conf)


def fixed(name: str, path: Path) -> SearchSpace:
    """Return the architecture of a path: a candidate number for each choice."""
    return space_of(name, [CANDIDATES[name][k] for k in path])


def draw_paths(name: str, per_size: int) -> list[Path]:
    """Draw architectures of every size, in an order in which sizes alternate.

    In the space ``tdnn``, the size is the number of layers with the larger context; in
    the others all count as one size.
    """
    draws = random.Random(0)
    count = len(CANDIDATES[name])
    by_size: list[list[Path]] = [[] for _ in range(CHOICES[name] + 1)]
    for path in product(range(count), repeat=CHOICES[name]):
        by_size[sum(k >= 2 for k in path) if name == "tdnn" else 0].append(path)
    drawn = [draws.sample(group, min(per_size, len(group))) for group in by_size]
    return [
        group[number]
        for number in range(per_size)
        for group in drawn
        if number < len(group)
    ]
