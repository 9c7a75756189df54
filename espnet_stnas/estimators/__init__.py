"""Estimators of architecture gradients: the table of their names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, Optional

from espnet_stnas.estimators.base import Estimator, Gate
from espnet_stnas.spec import ConfigError

__all__ = ["ESTIMATORS", "Estimator", "Gate", "build_estimator"]

ESTIMATORS = {
    "st": "espnet_stnas.estimators.st:StraightThrough",
    "uniform": "espnet_stnas.estimators.uniform:Uniform",
}


def build_estimator(name: str, conf: Optional[Mapping[str, Any]] = None) -> Estimator:
    """Build an estimator by its name.

    Args:
        name: A key of ``ESTIMATORS``.
        conf: Its options.

    Raises:
        ConfigError: If the name or an option is not known.
    """
    if name not in ESTIMATORS:
        raise ConfigError(
            f"estimator is '{name}'; accepted are: {', '.join(ESTIMATORS)}"
        )
    module, _, cls = ESTIMATORS[name].partition(":")
    estimator = getattr(importlib.import_module(module), cls)
    accepted = inspect.signature(estimator).parameters
    for key in conf or {}:
        if key not in accepted:
            raise ConfigError(
                f"estimator_conf: estimator '{name}' has no option '{key}'; "
                f"accepted are: {', '.join(accepted) or 'none'}"
            )
    return estimator(**(conf or {}))
