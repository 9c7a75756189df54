"""Show what differs between two architectures or search spaces.

The exit code is 1 if something does.
"""

from __future__ import annotations

import argparse

from espnet_stnas.cli.parser import add_json, show
from espnet_stnas.cli.spaces import add_space_options, costs_of
from espnet_stnas.results.show import difference, read_space_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    for name in ("one", "other"):
        parser.add_argument(
            name,
            help="Architecture file, YAML with an encoder_conf, or directory of a "
            "search or training",
        )
    parser.add_argument(
        "--costs", action="store_true", help="Compare their costs, too; takes seconds"
    )
    add_space_options(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the differences."""
    one, other = read_space_file(args.one), read_space_file(args.other)
    known = [costs_of(file, args) for file in (one, other)] if args.costs else []
    pairs = list(zip(*known, strict=True)) if all(known) else []
    text, same = difference(one, other, pairs)
    lines = [line.strip() for line in text.splitlines()[2:]]
    show(args, text, {"same": same, "differences": [] if same else lines})
    return 0 if same else 1
