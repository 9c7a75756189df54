"""Straight-through neural architecture search for ESPnet speech encoders.

Importing this package makes ``encoder: stnas`` known to ESPnet. It imports neither
torch nor ESPnet: the names below are imported when they are used. docs/python.md has a
search in plain PyTorch that uses all of them.
"""

from espnet_stnas.host.registry import register
from espnet_stnas.version import __version__

TYPE_CHECKING = False  # as in typing, which takes long to import
if TYPE_CHECKING:
    from espnet_stnas.estimators import build_estimator
    from espnet_stnas.network.network import build_network
    from espnet_stnas.network.stream import Stream
    from espnet_stnas.notation.space import SearchSpace
    from espnet_stnas.results.architecture import Architecture
    from espnet_stnas.results.from_supernet import derive
    from espnet_stnas.supernet.steps import architecture_step, weight_step
    from espnet_stnas.supernet.supernet import Supernet, build_supernet

__all__ = [
    "Architecture",
    "SearchSpace",
    "Stream",
    "Supernet",
    "__version__",
    "architecture_step",
    "build_estimator",
    "build_network",
    "build_supernet",
    "derive",
    "register",
    "weight_step",
]

_MODULES = {
    "Architecture": "results.architecture",
    "SearchSpace": "notation.space",
    "Stream": "network.stream",
    "Supernet": "supernet.supernet",
    "architecture_step": "supernet.steps",
    "build_estimator": "estimators",
    "build_network": "network.network",
    "build_supernet": "supernet.supernet",
    "derive": "results.from_supernet",
    "weight_step": "supernet.steps",
}


def __getattr__(name: str) -> object:
    """Import a name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return all names, including those that are not imported yet."""
    return sorted({*globals(), *_MODULES})


register()
