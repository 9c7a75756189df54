"""What several tests share."""

from __future__ import annotations

import os
import re
from collections import Counter
from itertools import product
from pathlib import Path

# Before torch is imported, here and in the processes that tests start: networks of a
# few dimensions gain nothing from several threads, and suffer from other load.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

from espnet_stnas.network.network import build_network
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.supernet.supernet import build_supernet

# What is the same for every ESPnet: rooms without it, text and shell. CI runs that
# once, and all else with each of its pairs of Python and ESPnet.
CORE = ("notation", "estimators", "supernet", "network", "cost", "results", "report")
CORE += ("ctc_crf", "fuzz", "recipes", "test_docstrings.py")
CORE += ("test_layout.py", "test_package.py", "test_recipes.py")
# The only module of ctc_crf that knows ESPnet, and its tests.
_NAMES_ESPNET = re.compile(r"espnet2|ctc_crf\.(test_)?model\b")
TESTS = Path(__file__).parent
ROOT = TESTS.parent
PACKAGE = ROOT / "espnet_stnas"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what depends on ESPnet, also where a test of the core names or trains it."""
    for item in items:
        # Tests, examples in docstrings, and pages.
        base = next((b for b in (TESTS, PACKAGE) if b in item.path.parents), ROOT)
        room = item.path.relative_to(base).parts[0]
        names_it = _NAMES_ESPNET.search(item.path.read_text(encoding="utf-8"))
        if room not in CORE or names_it or "corpus" in item.fixturenames:
            item.add_marker(pytest.mark.espnet)
    # Files with long tests first, so that workers which take whole files end together
    # (with --no-loadscope-reorder).
    slow = Counter(i.path for i in items if i.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


# Machines are noisy; tests are not timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def tiny_space(*layers: object, width: int = 4, **conf: object) -> SearchSpace:
    """A space of a few dimensions, without dropout unless it is given."""
    return SearchSpace.from_conf(
        {"width": width, "dropout_rate": 0.0, "layers": list(layers), **conf}
    )


def double_network(space: SearchSpace, input_size: int = 3) -> torch.nn.Module:
    """The network of a space in float64, with random logits if it is a supernet."""
    build = build_network if space.is_architecture else build_supernet
    network = build(space, input_size).double()
    for logits in getattr(network, "logits", ()):
        torch.nn.init.normal_(logits)
    return network


def batch(
    lengths: tuple[int, ...] = (7, 4), size: int = 3, dtype: torch.dtype = torch.double
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random frames (B, T, D) with junk in the padding, and lengths (B,)."""
    return (
        torch.randn(len(lengths), max(lengths), size, dtype=dtype),
        torch.tensor(lengths),
    )


def all_paths(space: SearchSpace) -> list[tuple[int, ...]]:
    """The candidate indices of every architecture of a space."""
    return list(product(*(range(len(c.candidates)) for c in space.choices)))
