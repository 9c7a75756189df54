"""Commands of the documentation: do their programs and options exist?"""

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
from unittest import mock

from espnet_stnas.cli.main import COMMANDS
from espnet_stnas.cli.parser import get_parser
from tests.pages import ROOT, blocks, comments, spans

RECIPES = ROOT / "egs2"
# Options of ESPnet's asr.sh that the pages use; compared with it where it is at hand.
ASR_SH = frozenset(
    "asr_args asr_config asr_stats_dir asr_tag expdir inference_args "
    "inference_asr_model inference_config inference_nj lm_args nbpe ngpu nj num_nodes "
    "python speed_perturb_factors stage stop_stage token_type use_lm".split()
)
# Options whose value is a list of options, and the program that takes these.
_NESTED = {
    "search_args": "stnas search",
    "train_args": "espnet2.bin.asr_train",
    "asr_args": "espnet2.bin.asr_train",
    "label_lm_args": "stnas label-lm",
    "decode_args": "stnas decode",
}
# Options of other programs: pip, pytest, torchrun, espnet3.
_OTHERS = frozenset("dist no-deps stages training_config nproc_per_node".split())


class _Found(Exception):  # noqa: N818
    """Carries a parser out of a program."""


def _caught(run) -> argparse.ArgumentParser:
    """The parser of a program that is stopped before it parses."""

    def stop(self, *_, **__):
        raise _Found(self)

    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            run()
        except _Found as found:
            return found.args[0]
    raise LookupError("the program parses no options")


@functools.cache
def module_parser(name: str) -> argparse.ArgumentParser:
    """The parser of ``python3 -m NAME``, or of ``stnas COMMAND``."""
    program, _, command = name.partition(" ")
    if program == "stnas":
        return task_parser("asr") if command == "search" else get_parser(command)
    module = importlib.import_module(name)
    if hasattr(module, "get_parser"):
        return module.get_parser()
    return _caught(lambda: module.main([]))


@functools.cache
def task_parser(task: str) -> argparse.ArgumentParser:
    """The parser of a search of a task."""
    from espnet_stnas.search.tasks import search_task

    return search_task(task).get_parser()


@functools.cache
def script_parser(path: Path) -> argparse.ArgumentParser:
    """The parser of a Python script."""
    with (
        mock.patch.object(sys, "argv", [str(path)]),
        mock.patch.object(sys, "path", [str(path.parent), *sys.path]),
    ):
        return _caught(lambda: runpy.run_path(str(path), run_name="__main__"))


@functools.cache
def recipe_options(script: Path) -> frozenset[str]:
    """The options that a recipe's script lists for itself."""
    text = script.read_text(encoding="utf-8").replace("\\\n", "")
    lists = re.findall(r'^(?:options|own)="([^"]+)"$', text, re.MULTILINE)
    return frozenset(" ".join(lists).split())


DIGITS = RECIPES / "digits" / "asr_stnas1" / "run.sh"
STNAS = RECIPES / "TEMPLATE" / "asr_stnas1" / "stnas.sh"


def options_of(words: list[str]) -> list[str]:
    """The names of the options among the words of a command."""
    found = (re.fullmatch(r"--(\w[\w-]*)(=.*)?", word) for word in words)
    return [match[1] for match in found if match]


def shell_commands(text: str) -> list[list[str]]:
    """The words of all commands of a block, without comments and settings."""
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        if words:
            commands.append(words)
    return commands


def command_problems(page: Path, text: str) -> list[str]:
    """What is wrong with the commands of a page.

    Those of shell blocks and comments, where nothing is left out (``...``), must be
    accepted as a whole. Those inside of lines are checked for their options.

    Args:
        page: Where the page is, which decides the recipe that ``./run.sh`` is of.
        text: The page.
    """
    problems = []
    for block in blocks(text):
        if block.language != "sh":
            continue
        place = page.parent
        for words in shell_commands(block.text):
            if words[0] == "cd" and len(words) == 2:
                place = ROOT / words[1]
                if not place.is_dir():
                    problems.append(f"there is no directory {words[1]}")
            problems += _problems(words, place, whole=True)
    for comment in comments(text):
        problems += _problems(shlex.split(comment), page.parent, whole=True)
    for span in spans(text):
        if re.match(r"--\w", span):
            problems += [
                f"no program has the option {span}"
                for name in options_of(span.split())[:1]
                if name not in known_options()
            ]
        elif re.search(r"\s--?\w", span):
            with contextlib.suppress(ValueError):
                problems += _problems(shlex.split(span), page.parent, whole=False)
    return problems


def _problems(words: list[str], place: Path, whole: bool) -> list[str]:
    problems = []
    for option, value in zip(words, words[1:], strict=False):
        name = option.removeprefix("--")
        if name in _NESTED and option != name:
            parser = module_parser(_NESTED[name])
            problems += _unknown(parser, value.split(), f"the value of {option}")
        elif " -m " in value:
            problems += _problems(shlex.split(value), place, whole=False)
    launched = words.index("--no-python") + 1 if "--no-python" in words else 0
    if words[launched] == "stnas":  # elsewhere, it is the encoder
        return problems + _stnas_problems(words[launched + 1 :], whole)
    if "-m" in words[:-1]:
        at = words.index("-m")
        return problems + _module_problems(words[at + 1], words[at + 2 :], whole)
    for number, word in enumerate(words):
        if word.endswith(("run.sh", "tools/run_demo.sh", "run_stand_in.sh")):
            return problems + _recipe_problems(word, words[number + 1 :], place)
        if re.fullmatch(r"(?:\./)?(?:benchmarks|tools)/\w+\.py", word):
            if not (ROOT / word).exists():
                return [*problems, f"there is no {word}"]
            parser = script_parser(ROOT / word)
            return problems + _refused(parser, words[number + 1 :], word, whole)
    return problems


def _stnas_problems(words: list[str], whole: bool) -> list[str]:
    while words[:1] == ["--debug"]:
        words = words[1:]
    if not words or words[0] not in COMMANDS:
        return [] if words in (["--help"], ["--version"]) else [f"no command {words}"]
    name, *arguments = words
    if name == "search":
        # It reads the YAML that --config names.
        task = "asr"
        if "--task" in arguments:
            at = arguments.index("--task")
            task = arguments[at + 1]
            arguments = arguments[:at] + arguments[at + 2 :]
        return _unknown(task_parser(task), arguments, "stnas search")
    return _refused(get_parser(name), arguments, f"stnas {name}", whole)


def _module_problems(name: str, arguments: list[str], whole: bool) -> list[str]:
    if name == "espnet_stnas.run":
        arguments = arguments[arguments[:1] == ["--search"] :]
        if arguments[:1] == ["-m"]:
            return _module_problems(arguments[1], arguments[2:], whole)
        return []
    if name.startswith("espnet2.") and not name.endswith("..."):
        missing = importlib.util.find_spec(name) is None
        return [f"ESPnet has no {name}"] if missing else []
    if name == "espnet_stnas":
        return _stnas_problems(arguments, whole)
    return []


def _unknown(
    parser: argparse.ArgumentParser, arguments: list[str], name: str
) -> list[str]:
    """Options that are not known, also where they abbreviate others."""
    known = parser._option_string_actions
    return [
        f"{name} has no option --{option}"
        for option in options_of(arguments)
        if f"--{option}" not in known
    ]


def _refused(
    parser: argparse.ArgumentParser, arguments: list[str], name: str, whole: bool
) -> list[str]:
    problems = _unknown(parser, arguments, name)
    if problems or not whole or "..." in arguments:
        return problems
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            parser.parse_args(arguments)
        except SystemExit as end:
            if end.code:
                problems.append(f"{name}: {said.getvalue().splitlines()[-1]}")
    return problems


def _recipe_problems(script: str, arguments: list[str], place: Path) -> list[str]:
    digits = "run_demo.sh" in script or "digits" in script or place == DIGITS.parent
    if digits:
        known = recipe_options(DIGITS)
    else:
        known = recipe_options(STNAS) | ASR_SH
    return [
        f"{script} has no option --{option}"
        for option in options_of(arguments)
        if option not in known | {"help"}
    ]


@functools.cache
def known_options() -> frozenset[str]:
    """All options of all programs."""
    known = set(_OTHERS | ASR_SH | recipe_options(DIGITS) | recipe_options(STNAS))
    parsers = [module_parser(f"stnas {name}") for name in COMMANDS]
    benchmarks = (ROOT / "benchmarks").glob("*.py")
    parsers += [
        script_parser(path)
        for path in benchmarks
        if "parse_args" in path.read_text(encoding="utf-8")
    ]
    for parser in parsers:
        known.update(o.removeprefix("--") for o in parser._option_string_actions)
    return frozenset(known | {"task", "search", "help", "version"})
