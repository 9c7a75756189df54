"""Estimators of architecture gradients: the table of their names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators.base import Estimator, Gate, Scoring
from espnet_stnas.notation.plugins import load_plugins, refuse_other

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "Gate",
    "Scoring",
    "build_estimator",
    "register_estimator",
]

ESTIMATORS = {
    "st": "espnet_stnas.estimators.st:StraightThrough",
    "reinmax": "espnet_stnas.estimators.reinmax:ReinMax",
    "gumbel_st": "espnet_stnas.estimators.gumbel_st:GumbelStraightThrough",
    "proxyless": "espnet_stnas.estimators.proxyless:Proxyless",
    "snas": "espnet_stnas.estimators.snas:SNAS",
    "darts": "espnet_stnas.estimators.darts:DARTS",
    "uniform": "espnet_stnas.estimators.uniform:Uniform",
}


def build_estimator(name: str, conf: Optional[Mapping[str, Any]] = None) -> Estimator:
    """Build the estimator with the given name.

    Args:
        name: A key of ``ESTIMATORS``.
        conf: Its options.

    Raises:
        ConfigError: If the name or an option is not known, or a value is not accepted.

    >>> build_estimator("gumbel_st", {"temperature": 0.5}).report()
    {'temperature': 0.5}
    """
    if name not in ESTIMATORS:
        load_plugins()
    if name not in ESTIMATORS:
        raise ConfigError(
            f"estimator is '{name}'; accepted are: {', '.join(ESTIMATORS)}"
        )
    module, _, cls = ESTIMATORS[name].partition(":")
    estimator = getattr(importlib.import_module(module), cls)
    accepted = option_names(estimator)
    for key in conf or {}:
        if key not in accepted:
            raise ConfigError(
                f"estimator_conf: estimator '{name}' has no option '{key}'; "
                f"accepted are: {', '.join(accepted) or 'none'}"
            )
    return estimator(**(conf or {}))


def register_estimator(name: str, place: str) -> None:
    """Add an estimator to those that a search can use.

    Call this in a module that every process imports: a module that an installed
    package names in the entry point group ``espnet_stnas``. A second call with the
    same class changes nothing.

    Args:
        name: Value of ``estimator`` in the YAML of a search.
        place: ``package.module:Class``, imported when the estimator is built.

    Raises:
        ConfigError: If another estimator has the name.
    """
    refuse_other("estimator", name, place, ESTIMATORS.get(name, place))
    ESTIMATORS[name] = place


def option_names(estimator: type[Estimator]) -> list[str]:
    """Return the names of an estimator's options, including inherited ones."""
    names: list[str] = []
    for cls in estimator.__mro__:
        if cls is object or "__init__" not in vars(cls):
            continue
        parameters = list(inspect.signature(cls).parameters.values())
        names += [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names
