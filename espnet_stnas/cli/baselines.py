"""Write training YAMLs of architectures to compare a search with."""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_stnas.cli.parser import add_json, show
from espnet_stnas.errors import ConfigError
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.baselines import at_random, by_hand
from espnet_stnas.results.derive import write_training_config
from espnet_stnas.results.show import read_space_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "search",
        metavar="SEARCH",
        help="YAML of a search, with the space, or directory of one",
    )
    parser.add_argument(
        "--train_config", required=True, help="Training YAML to put the encoders in"
    )
    parser.add_argument(
        "--output", required=True, help="Directory, which gets NAME/train.yaml for each"
    )
    parser.add_argument(
        "--by_hand",
        action="append",
        default=[],
        metavar="NAME=OP[,OP,...]",
        help="An operation for all choices, or one for each; may be repeated",
    )
    parser.add_argument("--random", type=int, default=0, help="How many at random")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the random ones")
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Write the YAMLs, and print the name of each."""
    files = {}
    for name, architecture in _architectures(args).items():
        files[name] = Path(args.output) / name / "train.yaml"
        write_training_config(
            architecture, args.train_config, files[name], f"baseline {name}"
        )
    show(args, "\n".join(files), {"baselines": files})


def _architectures(args: argparse.Namespace) -> dict[str, Architecture]:
    space = read_space_file(args.search, whole_space=True).space
    found = {}
    for entry in args.by_hand:
        name, equals, operations = entry.partition("=")
        if not equals or not name:
            raise ConfigError(
                f"by_hand is '{entry}'; accepted is NAME=OPERATION[,OPERATION,...]"
            )
        found[name] = by_hand(space, operations.split(","))
    drawn = at_random(space, args.random, args.seed)
    for number, architecture in enumerate(drawn, start=1):
        found[f"random{number}"] = architecture
    return found
