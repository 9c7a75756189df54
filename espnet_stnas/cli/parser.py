"""Common parts of all sub-commands: their parser and their output. No torch."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, Optional, Union

import configargparse

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.messages import quote


class UsageError(ValueError):
    """Options do not go together; the command ends with the exit code 2."""


def run(command: str, words: Sequence[str]) -> int:
    """Run a sub-command.

    Args:
        command: Its name.
        words: The arguments after its name.

    Returns:
        The exit code.
    """
    parser = get_parser(command)
    args, passed = parser.parse_known_args(list(words))
    if getattr(_module(command), "PASSES_ON", False):
        args.passed = passed
    elif passed:
        parser.error(f"unrecognized arguments: {' '.join(passed)}")
    args.stdout = sys.stdout
    # With --json, standard output contains only the result, but ESPnet prints when it
    # is imported.
    quiet = redirect_stdout(sys.stderr) if "json" in args else nullcontext()
    try:
        with quiet:
            return _module(command).run(args) or 0
    except UsageError as error:
        parser.error(str(error))


def get_parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of a sub-command; it also reads options from a YAML."""
    module = _module(command)
    parser = configargparse.ArgumentParser(
        prog=f"stnas {command}",
        description=module.__doc__,
        formatter_class=_Help,
        add_config_file_help=False,
        add_env_var_help=False,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    parser.add_argument(
        "--config", is_config_file=True, help="YAML with options of this command"
    )
    parser.add_argument(
        "--debug", action="store_true", help="Show the traceback behind an error"
    )
    parser._config_file_parser = _OptionsFile(parser)
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option --json for output that programs can read."""
    parser.add_argument("--json", action="store_true", help="Print JSON, for programs")


def add_input_size(group: argparse._ActionsContainer) -> None:
    """Add the option --input_size to a parser or a group of it."""
    group.add_argument(
        "--input_size",
        type=int,
        help="Dimensions of an input frame (default: as the search says)",
    )


def add_frames(group: argparse._ActionsContainer) -> None:
    """Add the option --frames to a parser or a group of it."""
    group.add_argument(
        "--frames",
        type=int,
        default=1000,
        help="Length of the utterance whose multiply-accumulates count",
    )


def add_frame_shift(group: argparse._ActionsContainer) -> None:
    """Add the option --frame_shift to a parser or a group of it."""
    group.add_argument(
        "--frame_shift",
        type=float,
        help="Milliseconds from one frame of the features to the next, for the "
        "look-ahead (default: as cost_conf of the search says, or 10)",
    )


def show(args: argparse.Namespace, text: str, data: Mapping[str, Any]) -> None:
    """Print a result: as JSON if requested, otherwise as text.

    Args:
        args: The options.
        text: The result for people.
        data: The result for programs.
    """
    result = json.dumps(_finite(data), indent=2) if args.json else text
    print(result, file=args.stdout)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format rows as aligned lines; columns of numbers are aligned to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [
        any(column) and all(cell[:1].isdigit() for cell in column if cell)
        for column in zip(*rows, strict=True)
    ] or [False] * len(widths)
    return "\n".join(
        "  "
        + "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _module(command: str) -> Any:
    return importlib.import_module(f"espnet_stnas.cli.{command.replace('-', '_')}")


def _finite(value: Any) -> Any:
    """Replace infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


class _Help(
    argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter
):
    """Shows the defaults of options that have one."""

    def _get_help_string(self, action: argparse.Action) -> Optional[str]:
        nothing = action.default is None or action.default in (False, [])
        if nothing or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


class _OptionsFile(configargparse.ConfigFileParser):
    """Reads options from a YAML, with our own checks of YAML files."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self._parser = parser

    def get_syntax_description(self) -> str:
        return "a YAML with names of options as keys"

    def parse(self, stream: Any) -> OrderedDict[str, Union[str, list[str]]]:
        file = stream.name
        found: OrderedDict[str, Union[str, list[str]]] = OrderedDict()
        known = {
            option.removeprefix("--")
            for option in self._parser._option_string_actions
            if option.startswith("--")
        } - {"help", "config"}
        for key, value in read_yaml_mapping(file, "config").items():
            if key not in known:
                raise ConfigError(
                    f"config {file}: unknown key {quote(key)}; accepted are the "
                    f"options of {self._parser.prog}: {', '.join(sorted(known))}"
                )
            if value is not None:
                many = isinstance(value, list)
                found[key] = [str(v) for v in value] if many else str(value)
        return found
