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

import argparse
import atexit
import importlib
import importlib.util
import re
import runpy
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import NoReturn

import espnet_stnas  # noqa: F401  (registers the encoder, here and in spawned workers)
from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.results.search_options import SEARCH_OPTIONS
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
    """Run the module or script of the command line."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return
    searches = arguments[0] == "--search"
    arguments = arguments[1:] if searches else arguments
    if not arguments:
        _end_with_usage("--search needs a module or a script")
    with plain_errors():
        if arguments[0] == "-m":
            module = arguments[1:]
            if searches:
                module = _search_instead(module)
            else:
                _refuse_search_options(module)
            _run_module(module)
        elif arguments[0].startswith("-"):
            _end_with_usage(f"unknown option '{arguments[0]}'")
        else:
            _run_script(arguments)


def _end_with_usage(text: str) -> NoReturn:
    print(f"error: {text}\n{_USAGE}", file=sys.stderr)
    sys.exit(2)


def _training(arguments: list[str]) -> str | None:
    """Return the task of an ESPnet training; None for any other program."""
    name = arguments[0] if arguments else ""
    # One of them is named s2t_train_ctc.
    match = re.fullmatch(r"espnet2\.bin\.(\w+)_train(_ctc)?", name)
    return None if match is None else match[1] + (match[2] or "")


def _search_instead(arguments: list[str]) -> list[str]:
    task = _training(arguments)
    # Recipes train an LM with the same Python command.
    if task is None or task == "lm":
        return arguments
    if task == "lightning":
        raise ConfigError(
            "espnet2.bin.lightning_train cannot search (use_lightning is true); "
            "accepted with --search is use_lightning false"
        )
    if task not in TASKS:
        raise ConfigError(
            f"{arguments[0]} cannot search (asr_task is '{task}' in a "
            f"recipe); accepted with --search are: {', '.join(TASKS)}"
        )
    return [_SEARCH, "--task", task, *arguments[1:]]


def _refuse_search_options(arguments: list[str]) -> None:
    """Refuse a training that has options of a search, which ESPnet does not know.

    Raises:
        ConfigError: If there are any, on the command line or in the YAML.
    """
    task = _training(arguments)
    if task is None:
        return
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    for option in SEARCH_OPTIONS:
        parser.add_argument(f"--{option}", nargs="?", const="", action="append")
    given = vars(parser.parse_known_args(arguments[1:])[0])
    config = given.pop("config")
    found = [f"--{option}" for option in SEARCH_OPTIONS if given[option] is not None]
    where = "the command line"
    if config is not None and not found:
        where = f"config {config}"
        try:
            found = [o for o in SEARCH_OPTIONS if o in read_yaml_mapping(config, "")]
        except ConfigError:
            return  # ESPnet also reads YAML that we refuse, such as a key given twice
    # Trainings of GANs have a second optimizer, too.
    if not found or (task not in TASKS and "2" in found[0]):
        return
    remedy = "accepted is a YAML of a training: what derive wrote, for example"
    if task in TASKS:
        remedy = (
            "for a search, type python3 -m espnet_stnas.run --search -m "
            f"{arguments[0]} ... (in a recipe: --python 'python3 -m "
            "espnet_stnas.run --search'); for a training, take what derive wrote"
        )
    raise ConfigError(f"{where} has {found[0]}, which belongs to a search; {remedy}")


def _run_module(arguments: list[str]) -> None:
    if not arguments:
        _end_with_usage("-m needs the name of a module")
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
    # The parser of lightning_train is that of the task which it reads first.
    checkable = _training(arguments) not in (None, "lightning")
    with ExitStack() as stack:
        if checkable and hasattr(program, "get_parser"):
            # This imports torch, which ESPnet has imported by then.
            from espnet_stnas.host.start import training
            from espnet_stnas.results.derive import other_features

            config, size = stack.enter_context(
                training(program.get_parser(), arguments[1:])
            )
            for warning in other_features(config, size) if config else ():
                print(f"warning: {warning}", file=sys.stderr)
        stack.enter_context(_saving(name))
        program.main()


def _saving(name: str) -> AbstractContextManager[None]:
    """Protect the checkpoints of ESPnet's trainings against kills."""
    if not name.endswith("_train"):
        return nullcontext()
    # torch is imported by then; other programs must start without it.
    from espnet_stnas.host.checkpoints import whole_saves

    return whole_saves()


def _run_script(arguments: list[str]) -> None:
    if not Path(arguments[0]).is_file():
        sys.exit(f"error: there is no script '{arguments[0]}'")
    sys.argv = arguments
    # As Python does itself, so that the script finds the modules next to it.
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    # A worker that ESPnet spawned for one of several GPUs does not call main().
    _worker = _saving(Path(sys.argv[0]).stem)
    _worker.__enter__()
    atexit.register(_worker.__exit__, None, None, None)
