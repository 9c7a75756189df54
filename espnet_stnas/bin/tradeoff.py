"""Put errors against costs: of several searches and what was trained after them.

Example: python3 -m espnet_stnas.bin.tradeoff exp/search_w0=exp/train_w0
exp/search_w1=exp/train_w1 exp/train_all_c2d2 --kind params --output_dir figures
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.files import read_yaml_mapping, write_text
from espnet_stnas.messages import one_line, quote
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.drawing import save_figure
from espnet_stnas.report.tradeoff import Point, tradeoff_figure, tradeoff_table
from espnet_stnas.report.trainings import short_names
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.error_rates import rate_of
from espnet_stnas.results.experiment import SearchExperiment


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "experiments",
        nargs="+",
        help="SEARCH=TRAINING, the output_dirs of a search and of the training of its "
        "architecture, or TRAINING alone for other architectures",
    )
    parser.add_argument(
        "--kind", default="params", choices=("params", "macs", "latency")
    )
    parser.add_argument(
        "--frames", type=int, default=1000, help="Length of the utterance (macs)"
    )
    parser.add_argument("--latency_table", help="Measured latencies (latency)")
    parser.add_argument(
        "--input_size", type=int, help="Dimensions of a frame (default: as searched)"
    )
    parser.add_argument("--score_file", default="decode_test/score.yaml")
    parser.add_argument("--metric", default="wer", choices=("wer", "cer"))
    parser.add_argument("--output_dir", required=True, help="Where to put both files")
    parser.add_argument("--format", default="png", choices=("png", "svg", "pdf"))
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    # torch takes seconds to import; --help does not need it.
    from espnet_stnas.results.provenance import COST_UNITS

    with plain_errors():
        names = short_names([text.rpartition("=")[2] for text in args.experiments])
        points = [
            _point(args, text, name)
            for text, name in zip(args.experiments, names, strict=True)
        ]
        table = tradeoff_table(points, COST_UNITS[args.kind], args.metric)
        directory = Path(args.output_dir)
        figure = tradeoff_figure(points, COST_UNITS[args.kind], args.metric)
        save_figure(figure, directory / f"tradeoff.{args.format}")
        write_text(directory / "tradeoff.md", table)
    print(table, end="")


def _point(args: argparse.Namespace, text: str, name: str) -> Point:
    from espnet_stnas.cost.budget import costs_of

    search, _, path = text.rpartition("=")
    training = Path(path)
    architecture = _trained(training)
    weight = target = None
    if search:
        architecture = _searched(SearchExperiment.open(search), architecture, path)
        found = architecture.provenance.cost
        weight = 0.0 if found is None else found.weight or 0.0
        # A target in other units says nothing here.
        same = found is not None and found.kind == args.kind
        target = found.target if found is not None and same else None
    costs = costs_of(
        architecture,
        input_size=args.input_size,
        frames=args.frames if args.kind == "macs" else None,
        table=args.latency_table,
    )
    value = next((c.value for c in costs if c.kind == args.kind), None)
    if value is None:
        raise ConfigError(
            f"the {args.kind} of {one_line(path)} are not known; give --input_size, "
            "and --latency_table with --kind latency"
        )
    return Point(name, value, _error(args, training), weight, target)


def _trained(training: Path) -> Architecture:
    """The architecture that was trained."""
    config = read_yaml_mapping(training / "config.yaml", "training config")
    if config.get("encoder") != "stnas":
        raise ConfigError(
            f"{training / 'config.yaml'} has the encoder "
            f"{quote(config.get('encoder'))}; accepted is 'stnas', whose cost is known"
        )
    space = SearchSpace.from_conf(config.get("encoder_conf") or {})
    if not space.is_architecture:
        raise ConfigError(
            f"{training} is a search; accepted is the training of an architecture, as "
            "TRAINING or SEARCH=TRAINING"
        )
    return Architecture(space)


def _searched(
    search: SearchExperiment, trained: Architecture, name: str
) -> Architecture:
    """The same architecture, as the last epoch of a search that had it."""
    for architecture in reversed(search.history()):
        if architecture.space == trained.space:
            return architecture
    raise ConfigError(
        f"{one_line(name)} was not trained with an architecture of "
        f"{one_line(search.path)}: no epoch of that search has it"
    )


def _error(args: argparse.Namespace, training: Path) -> float:
    file = training / args.score_file
    return rate_of(read_yaml_mapping(file, "score file"), args.metric, file)


if __name__ == "__main__":
    main()
