"""Operations and estimators of other packages: found by an entry point. No torch."""

from __future__ import annotations

import functools
import importlib.metadata

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import one_line

GROUP = "espnet_stnas"


@functools.cache
def load_plugins() -> tuple[str, ...]:
    """Import what installed packages name in the entry point group ``espnet_stnas``.

    These modules call :func:`espnet_stnas.notation.families.register_operation` and
    :func:`espnet_stnas.estimators.register_estimator`. It happens once in a process,
    before a search reads its options and where a name is not known: so it reaches
    decoding and the processes of several GPUs, too.

    Returns:
        The modules, in alphabetical order.

    Raises:
        ConfigError: If one cannot be imported.
    """
    points = importlib.metadata.entry_points(group=GROUP)
    for point in sorted(points, key=lambda point: point.value):
        try:
            point.load()
        except Exception as error:  # whatever a module of others raises
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
        name: What is registered.
        place: ``package.module:Class`` that shall have the name.
        taken: That which has it.

    Raises:
        ConfigError: If they differ.
    """
    if place != taken:
        raise ConfigError(
            f"{kind} '{name}' is '{taken}' already and cannot be '{place}', too; "
            "accepted is another name"
        )
