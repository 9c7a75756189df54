"""Write training YAMLs of architectures to compare a search with."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.baselines import at_random, by_hand
from espnet_stnas.results.derive import write_training_config


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--search_config", required=True, help="YAML of the search, with the space"
    )
    parser.add_argument(
        "--train_config", required=True, help="Training YAML to put the encoders in"
    )
    parser.add_argument(
        "--output_dir", required=True, help="Gets <name>/train.yaml for each"
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
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command; prints the name of each baseline."""
    args = get_parser().parse_args(cmd)
    with plain_errors():
        for name, architecture in _architectures(args).items():
            write_training_config(
                architecture,
                args.train_config,
                Path(args.output_dir) / name / "train.yaml",
                f"baseline {name}",
            )
            print(name)


def _architectures(args: argparse.Namespace) -> dict[str, Architecture]:
    config = read_yaml_mapping(args.search_config, "search config")
    space = SearchSpace.from_conf(config.get("encoder_conf") or {})
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


if __name__ == "__main__":
    main()
