"""Search tasks by name, built on first use.

ESPnet passes the class to the processes that it spawns for several GPUs as a name in a
module. So classes are attributes of this module. Only the classes in use are built,
since importing a task takes seconds.
"""

from __future__ import annotations

import functools
import importlib

from espnet_stnas.errors import ConfigError
from espnet_stnas.search.names import TASKS
from espnet_stnas.search.task import SearchASRTask, SearchTask


@functools.cache
def search_task(name: str) -> type[SearchTask]:
    """Return the ESPnet task with an architecture search.

    Args:
        name: Name as in ``espnet2.bin.<name>_train``.

    Raises:
        ConfigError: If there is no such task, or not in this version of ESPnet.
    """
    if name not in TASKS:
        raise ConfigError(f"task is '{name}'; accepted are: {', '.join(TASKS)}")
    if name == "asr":
        return SearchASRTask
    module, task = TASKS[name]
    try:
        base = getattr(importlib.import_module(f"espnet2.tasks.{module}"), task)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"task is '{name}', which needs {error.name}; that is not installed"
        ) from error
    attributes = {"__module__": __name__, "task_name": name}
    return type(name, (SearchTask, base), attributes)


def __getattr__(name: str) -> type[SearchTask]:
    if name in TASKS:
        return search_task(name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
