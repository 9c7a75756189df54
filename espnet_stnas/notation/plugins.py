"""Loads operations and estimators of other packages by an entry point. No torch."""

from __future__ import annotations

import functools
import importlib.metadata

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import one_line

GROUP = "espnet_stnas"


@functools.cache
def load_plugins() -> tuple[str, ...]:
    """Import the modules of the entry point group ``espnet_stnas``.

    These modules call :func:`espnet_stnas.notation.families.register_operation` and
    :func:`espnet_stnas.estimators.register_estimator`. They are imported once in each
    process: before a search reads its options, and whenever a name is not known. So
    plugins also work in decoding and in the processes of several GPUs.

    Returns:
        The modules, in alphabetical order.

    Raises:
        ConfigError: If one cannot be imported.
    """
    points = importlib.metadata.entry_points(group=GROUP)
    for point in sorted(points, key=lambda point: point.value):
        try:
            point.load()
        except Exception as error:  # a foreign module may raise anything
            raise ConfigError(
                f"the plugin '{point.value}' (entry point '{point.name}' of the group "
                f"'{GROUP}') cannot be imported: {type(error).__name__}: "
                f"{one_line(error)[:500]}"
            ) from error
    return tuple(sorted(point.value for point in points))


def refuse_other(kind: str, name: str, place: str, taken: str) -> None:
    """Refuse to register a name for a second class.

    Args:
        kind: ``operation`` or ``estimator``.
        name: The name to register.
        place: ``package.module:Class`` to register under the name.
        taken: ``package.module:Class`` that has the name now.

    Raises:
        ConfigError: If the two classes differ.
    """
    if place != taken:
        raise ConfigError(
            f"{kind} '{name}' is '{taken}' already and cannot be '{place}', too; "
            "accepted is another name"
        )
