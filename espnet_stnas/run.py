"""Run any Python program with `stnas` registered in ESPnet.

    python3 -m espnet_stnas.run -m espnet2.bin.asr_train --config conf/train.yaml ...
    python3 -m espnet_stnas.run some/script.py ...

With ESPnet's recipes: ``asr.sh --python "python3 -m espnet_stnas.run"``. With
``--search`` before ``-m``, ``espnet2.bin.asr_train`` is ``espnet_stnas.search.program``
instead, so that asr.sh gives a search its data, launcher and logs. So it is with the
trainings of other tasks that can be searched (st, slu, s2t, cls and more).

This is a plain module, not a package's ``__main__``, since processes that are spawned
for several GPUs import it again by its name and so register the encoder as well.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import runpy
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import espnet_stnas  # noqa: F401  (registers the encoder, here and in spawned workers)
from espnet_stnas.errors import plain_errors
from espnet_stnas.search.names import TASKS

_SEARCH = "espnet_stnas.search.program"
_USAGE = (
    "usage: python3 -m espnet_stnas.run [--search] (-m MODULE | SCRIPT) "
    "[ARGUMENT ...]\n"
    "Runs a module such as espnet2.bin.asr_train, or a script, with the encoder "
    "'stnas' registered in ESPnet.\n"
    "--search runs stnas search --task TASK where espnet2.bin.TASK_train is "
    f"named, for the tasks {', '.join(TASKS)}."
)


def main(argv: list[str] | None = None) -> None:
    """Run the module or script that the command line names."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return
    searches = arguments[0] == "--search"
    arguments = arguments[1:] if searches else arguments
    if not arguments:
        sys.exit(f"error: --search needs a module or a script\n{_USAGE}")
    with plain_errors():
        if arguments[0] == "-m":
            module = arguments[1:]
            _run_module(_search_instead(module) if searches and module else module)
        elif arguments[0].startswith("-"):
            sys.exit(f"error: unknown option '{arguments[0]}'\n{_USAGE}")
        else:
            _run_script(arguments)


def _search_instead(arguments: list[str]) -> list[str]:
    task = arguments[0].removeprefix("espnet2.bin.").removesuffix("_train")
    if arguments[0] != f"espnet2.bin.{task}_train" or task not in TASKS:
        return arguments
    return [_SEARCH, "--task", task, *arguments[1:]]


def _run_module(arguments: list[str]) -> None:
    if not arguments:
        sys.exit(f"error: -m needs the name of a module\n{_USAGE}")
    name = arguments[0]
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        sys.exit(f"error: there is no module '{name}'")
    sys.argv = [spec.origin or name, *arguments[1:]]
    if not name.startswith("espnet2.bin.") and name != _SEARCH:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
        return
    # ESPnet's own entry points all have main(). Calling it, unlike runpy, keeps this
    # module the main one, which spawned workers need.
    program = importlib.import_module(name)
    with _saving(name):
        program.main()


def _saving(name: str) -> AbstractContextManager[None]:
    """Protect the checkpoints of ESPnet's trainings from kills."""
    if not name.endswith("_train"):
        return nullcontext()
    # torch is imported by then; other programs shall start without it.
    from espnet_stnas.host.checkpoints import whole_saves

    return whole_saves()


def _run_script(arguments: list[str]) -> None:
    if not Path(arguments[0]).is_file():
        sys.exit(f"error: there is no script '{arguments[0]}'")
    sys.argv = arguments
    # As python itself does, so that the script finds the modules beside it.
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    # A worker that ESPnet has spawned for one of several GPUs: it does not call main().
    _worker = _saving(Path(sys.argv[0]).stem)
    _worker.__enter__()
    atexit.register(_worker.__exit__, None, None, None)
