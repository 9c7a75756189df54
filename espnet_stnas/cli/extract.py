"""Write a trained model of an architecture, with the weights of a search.

The directory is what a training by ESPnet leaves, and can be decoded at once. The
search must have trained its architectures for this: elastic is true.
"""

from __future__ import annotations

import argparse

from espnet_stnas.cli.evaluate import path_of
from espnet_stnas.cli.parser import add_json, show
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.messages import one_line
from espnet_stnas.results.experiment import SearchExperiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "experiment", metavar="SEARCH_EXP", help="Directory of an elastic search"
    )
    parser.add_argument(
        "architecture",
        metavar="ARCH",
        help="Architecture file, as select and derive write it, or one of the words "
        "largest and smallest",
    )
    parser.add_argument("--output", required=True, help="Directory to write")
    parser.add_argument(
        "--epoch", type=int, help="Epoch of the weights (default: the last one)"
    )
    parser.add_argument(
        "--calibration",
        type=int,
        default=20,
        help="Training batches that give batch norms their statistics, if there are "
        "any",
    )
    parser.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda"), help="Where to compute"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Write the directory, and say what is in it."""
    experiment = SearchExperiment.open(args.experiment)
    experiment.architecture(args.epoch)  # there may be none yet
    # torch takes seconds to import.
    from espnet_stnas.selection.extract import ENDS, WEIGHTS, end_path, extract

    if args.architecture in ENDS:
        path = end_path(experiment, args.architecture)
    else:
        path = path_of(experiment, args.architecture)
    found = extract(
        experiment,
        path,
        args.output,
        epoch=args.epoch,
        calibration=args.calibration,
        device=args.device,
    )
    config = read_yaml_mapping(experiment.path / "config.yaml", "experiment config")
    warnings = []
    if config.get("elastic") is not True:
        warnings.append(
            f"the search in {one_line(args.experiment)} was not elastic: its weights "
            "are shared by architectures that were not trained to be used as they are; "
            "train the architecture (stnas derive), or search with elastic: true"
        )
    lines = [
        f"{one_line(args.output)}: config.yaml and {WEIGHTS}, from epoch "
        f"{found.epoch}; the encoder has {found.parameters:,} parameters"
    ]
    if found.batches:
        lines.append(f"statistics of batch norms: of {found.batches} training batches")
    lines += [f"warning: {text}" for text in warnings]
    layers = [str(la.candidates[0]) for la in experiment.space.resolve(path).layers]
    data = {
        "output": args.output,
        "weights": WEIGHTS,
        "layers": layers,
        **vars(found),
        "warnings": warnings,
    }
    show(args, "\n".join(lines), data)
