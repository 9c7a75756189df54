"""Write training YAMLs of architectures to compare a search with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional

from espnet_stnas.cli.parser import add_frames, add_input_size, add_json, show
from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.baselines import at_random, by_hand, chosen_path
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
    parser.add_argument(
        "--largest",
        action="store_true",
        help="Also the most expensive of all, unless it is one by hand, and with --max "
        "the most expensive that keeps it",
    )
    group = parser.add_argument_group("Equal size")
    group.add_argument(
        "--max",
        metavar="COST=MOST",
        help="Random ones cost so much, or up to 3 %% less: params=8M, macs=2G, or a "
        "share of the most expensive: params=85%%",
    )
    add_input_size(group)
    add_frames(group)
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
    file = read_space_file(args.search, whole_space=True)
    space = file.space
    found = {}
    for entry in args.by_hand:
        name, equals, operations = entry.partition("=")
        if not equals or not name:
            raise ConfigError(
                f"by_hand is '{entry}'; accepted is NAME=OPERATION[,OPERATION,...]"
            )
        found[name] = by_hand(space, operations.split(","))
    random_ones = at_random(space, args.random, args.seed)
    if args.max is not None or args.largest:
        size = file.input_size if args.input_size is None else args.input_size
        largest, within, equal = _by_size(args, space, size)
        if args.largest and largest.space not in [a.space for a in found.values()]:
            found["largest"] = largest
        if args.largest and within is not None and within.space != largest.space:
            found["largest_within"] = within
        random_ones = random_ones if equal is None else equal
    for number, architecture in enumerate(random_ones, start=1):
        found[f"random{number}"] = architecture
    return found


def _by_size(
    args: argparse.Namespace, space: SearchSpace, input_size: Optional[int]
) -> tuple[Architecture, Optional[Architecture], Optional[list[Architecture]]]:
    """Return the largest of all, and within --max the largest and random ones."""
    # Counting builds the operations; torch takes seconds to import.
    from espnet_stnas.selection.equal_size import largest_path, paths_between
    from espnet_stnas.selection.limits import AddedCost, Measures, refuse_unreachable
    from espnet_stnas.selection.paths import TOLERANCE

    kind = "params" if args.max is None else args.max.partition("=")[0]
    if kind not in ("params", "macs"):
        raise ConfigError(
            f"max is {quote(args.max)}; accepted are params=... and macs=... with a "
            "number or a share, such as params=85%"
        )
    measures = Measures(space, input_size, frames=args.frames)
    measure = measures[kind]
    assert isinstance(measure, AddedCost)
    largest = chosen_path(space, largest_path(measure, []), "by hand")
    if args.max is None:
        return largest, None, None
    limit = measures.limit(args.max)
    refuse_unreachable([limit])
    drawn = paths_between(
        space,
        measure,
        ((1 - TOLERANCE) * limit.most, limit.most),
        [],
        count=args.random,
        seed=args.seed,
    )
    return (
        largest,
        chosen_path(space, largest_path(measure, [limit]), "by hand"),
        [chosen_path(space, path, "at random", args.seed) for path in drawn],
    )
