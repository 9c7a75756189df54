"""Commands of the documentation, read by the parsers of their programs."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import importlib.util
import io
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Optional
from unittest import mock

from espnet_stnas.cli.main import COMMANDS
from espnet_stnas.cli.parser import get_parser

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "egs2" / "digits" / "asr_stnas1" / "run.sh"
STNAS = ROOT / "egs2" / "TEMPLATE" / "asr_stnas1" / "stnas.sh"
# Options of ESPnet's asr.sh that the pages use; compared with it where it is at hand.
ASR_SH = frozenset(
    "asr_args asr_config asr_exp asr_stats_dir asr_tag asr_task expdir "
    "inference_args inference_asr_model inference_config inference_nj lm_args "
    "lm_config local_data_opts nbpe ngpu nj num_nodes python speed_perturb_factors "
    "stage stop_stage test_sets token_type train_set use_lightning use_lm "
    "valid_set".split()
)
# Options whose value is a list of options, and the program that takes these.
_NESTED = {
    "--search_args": "search asr",
    "--train_args": "espnet2.bin.asr_train",
    "--asr_args": "espnet2.bin.asr_train",
    "--label_lm_args": "stnas label-lm",
    "--decode_args": "stnas decode",
    "--select_args": "stnas select",
}
# Options of other programs: pip, pytest, torchrun, espnet3.
_OTHERS = frozenset("dist no-deps stages training_config nproc_per_node".split())
_RECIPES = ("run.sh", "tools/run_demo.sh", "run_stand_in.sh")
_SCRIPT = re.compile(r"(?:\./)?((?:benchmarks|tools)/\w+\.py)")


class _Found(Exception):  # noqa: N818
    """Carries a parser out of a program."""


@functools.cache
def parser_of(program: str) -> argparse.ArgumentParser:
    """The parser of a program, which is stopped before it parses.

    Args:
        program: A module, a script, ``stnas`` and a sub-command, or ``search`` and a
            task of ESPnet.
    """
    if program.startswith("stnas "):
        return get_parser(program.removeprefix("stnas "))
    if program.startswith("search "):
        from espnet_stnas.search.tasks import search_task

        return search_task(program.removeprefix("search ")).get_parser()

    def stop(self, *_, **__):
        raise _Found(self)

    is_script = program.endswith(".py")
    path = [str((ROOT / program).parent)] if is_script else []
    with (
        mock.patch.object(sys, "argv", [program]),
        mock.patch.object(sys, "path", [*path, *sys.path]),
        mock.patch.object(argparse.ArgumentParser, "parse_args", stop),
    ):
        try:
            if is_script:
                runpy.run_path(str(ROOT / program), run_name="__main__")
            importlib.import_module(program).main()
        except _Found as found:
            return found.args[0]
    raise LookupError(f"{program} parses no options")


def options_of(words: list[str]) -> list[str]:
    """The names of the options among the words of a command."""
    found = (re.fullmatch(r"--(\w[\w-]*)(=.*)?", word) for word in words)
    return [match[1] for match in found if match]


def refusal(program: str, arguments: list[str]) -> Optional[str]:
    """What a program says to arguments; abbreviations are refused.

    Args:
        program: See :func:`parser_of`.
        arguments: With ``...``, some are left out, and the others must be options.
    """
    parser = parser_of(program)
    for option in options_of(arguments):
        if f"--{option}" not in parser._option_string_actions:
            return f"{program} has no option --{option}"
    # A search reads the YAML that --config names.
    if "..." in arguments or program.startswith("search "):
        return None
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            parser.parse_args(arguments)
        except SystemExit as end:
            if end.code:
                return f"{program}: {said.getvalue().splitlines()[-1]}"
    return None


def check_commands(text: str, folder: Path) -> None:
    """Check commands, one on each line.

    Args:
        text: The lines of a shell.
        folder: Where they are run, which decides the recipe that ``./run.sh`` is of.

    Raises:
        AssertionError: If a program would not take what it is given.
    """
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        if words[:1] == ["cd"] and len(words) == 2:
            folder = ROOT / words[1]
            assert folder.is_dir(), f"there is no directory {words[1]}"
        problem = _problem(words, folder)
        assert problem is None, f"{line}: {problem}"


def _problem(words: list[str], folder: Path) -> Optional[str]:
    for option, value in zip(words, words[1:], strict=False):
        problem = None
        if option in _NESTED:
            problem = refusal(_NESTED[option], [*value.split(), "..."])
        elif " -m " in value:
            problem = _problem([*shlex.split(value), "..."], folder)
        if problem is not None:
            return problem
    launched = words.index("--no-python") + 1 if "--no-python" in words else 0
    if words[launched : launched + 1] == ["stnas"]:  # elsewhere, it is the encoder
        return _stnas_problem(*words[launched + 1 :])
    for number, word in enumerate(words):
        rest = words[number + 1 :]
        if word == "-m" and rest:
            return _module_problem(*rest)
        if word.endswith(_RECIPES):
            is_digits = re.search("digits|run_demo", word) or folder == DIGITS.parent
            known = recipe_options(DIGITS) if is_digits else recipe_options(STNAS)
            known |= {"help"} if is_digits else ASR_SH | {"help"}
            strange = sorted(set(options_of(rest)) - known)
            return f"{word} has no option --{strange[0]}" if strange else None
        if script := _SCRIPT.fullmatch(word):
            return refusal(script[1], rest)
    return None


def _module_problem(name: str, *arguments: str) -> Optional[str]:
    if name == "espnet_stnas":
        return _stnas_problem(*arguments)
    if name == "espnet_stnas.run":
        rest = arguments[arguments[:1] == ("--search",) :]
        return _module_problem(*rest[1:]) if rest[:1] == ("-m",) else None
    if not name.startswith(("espnet_stnas.", "espnet2.")) or name.endswith("..."):
        return None
    if importlib.util.find_spec(name) is None:
        return f"there is no {name}"
    return refusal(name, list(arguments)) if name.startswith("espnet_stnas.") else None


def _stnas_problem(*words: str) -> Optional[str]:
    while words[:1] == ("--debug",):
        words = words[1:]
    # Options of the command itself, perhaps with what is left out behind.
    if words in ((), ("...",), ("--help",), ("--version",)):
        return None
    if words[:1] == ("demo",):
        known = recipe_options(DIGITS) | {"dir"}
        strange = sorted(set(options_of([*words])) - known)
        return f"stnas demo has no option --{strange[0]}" if strange else None
    if not words or words[0] not in COMMANDS:
        return f"stnas has no command {' '.join(words[:1])}"
    command, *arguments = words
    if command != "search":
        return refusal(f"stnas {command}", arguments)
    task = "asr"
    if "--task" in arguments:
        at = arguments.index("--task")
        task = arguments[at + 1]
        arguments = arguments[:at] + arguments[at + 2 :]
    return refusal(f"search {task}", arguments)


@functools.cache
def recipe_options(script: Path) -> frozenset[str]:
    """The options that a recipe's script lists for itself."""
    text = script.read_text(encoding="utf-8").replace("\\\n", "")
    lists = re.findall(r'^(?:options|own)="([^"]+)"$', text, re.MULTILINE)
    return frozenset(" ".join(lists).split())


@functools.cache
def known_options() -> frozenset[str]:
    """All options of all programs."""
    known = set(_OTHERS | ASR_SH | recipe_options(DIGITS) | recipe_options(STNAS))
    known |= {
        o.removeprefix("--") for o in parser_of("search asr")._option_string_actions
    }
    for folder in ("espnet_stnas", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            known.update(re.findall(r'"--([\w-]+)"', path.read_text(encoding="utf-8")))
    return frozenset(known | {"search", "task", "help", "version"})
