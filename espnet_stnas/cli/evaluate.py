"""Evaluate architectures of a search with the shared weights of its supernet.

No architecture is trained. Results are kept in SEARCH_EXP/evaluations, so that an
evaluation that was stopped goes on where it ended.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from espnet_stnas.cli.parser import UsageError, add_json, show, table
from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import one_line
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.selection.data import DATA_SETS
from espnet_stnas.selection.evaluation import Evaluation
from espnet_stnas.selection.paths import all_paths, path_name, some_paths

if TYPE_CHECKING:
    from espnet_stnas.selection.evaluate import Evaluator

# More architectures than this are not all evaluated by mistake.
_MOST = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "experiment", metavar="SEARCH_EXP", help="Directory of a search, also a running"
    )
    parser.add_argument(
        "architectures",
        metavar="ARCH",
        nargs="*",
        help="Architecture files (default: the most probable one of the epoch)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--paths", type=int, help="Draw so many different architectures instead"
    )
    which.add_argument(
        "--all", action="store_true", help="All architectures of the space instead"
    )
    parser.add_argument("--seed", type=int, default=0, help="Of --paths")
    add_evaluation_options(parser)
    add_json(parser)


def add_evaluation_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of an evaluation."""
    group = parser.add_argument_group("Evaluation with shared weights")
    group.add_argument(
        "--epoch", type=int, help="Epoch of the weights (default: the last one)"
    )
    group.add_argument(
        "--data",
        default="valid",
        choices=DATA_SETS,
        help="Data set of the search; architecture: what it set aside for "
        "architecture steps",
    )
    group.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda"), help="Where to compute"
    )
    group.add_argument(
        "--processes", type=int, default=1, help="Processes to use on a CPU"
    )
    group.add_argument(
        "--calibration",
        type=int,
        default=20,
        help="Training batches from which each architecture gets the statistics of its "
        "batch norms, if the space has any",
    )


def evaluator_of(args: argparse.Namespace, experiment: SearchExperiment) -> Evaluator:
    """Return the evaluator that the options describe."""
    # torch takes seconds to import.
    from espnet_stnas.selection.evaluate import Evaluator

    return Evaluator(
        experiment,
        epoch=args.epoch,
        data=args.data,
        device=args.device,
        processes=args.processes,
        calibration=args.calibration,
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate, and print a table."""
    if args.architectures and (args.paths is not None or args.all):
        raise UsageError("ARCH does not go together with --paths or --all")
    experiment = SearchExperiment.open(args.experiment)
    named = _paths(args, experiment)
    evaluator = evaluator_of(args, experiment)
    results = evaluator([path for _, path in named])
    rows = sorted(
        zip(named, results, strict=True), key=lambda row: row[1].badness("loss")
    )
    lines = [
        f"Epoch {evaluator.epoch} of {one_line(args.experiment)}, data '{args.data}':",
        table(
            ("architecture", *result_header(results)),
            [(name, *result_cells(found)) for (name, _), found in rows],
        ),
        f"kept in {one_line(evaluator.log.path)}",
    ]
    data = {
        "epoch": evaluator.epoch,
        "file": evaluator.log.path,
        "architectures": [
            {
                "name": name,
                "layers": path_name(experiment.space, path).split(" "),
                **vars(found),
            }
            for (name, path), found in rows
        ],
    }
    show(args, "\n".join(lines), data)


def result_header(results: Sequence[Evaluation]) -> list[str]:
    """Return the columns of results that are known."""
    header = ["loss"]
    if results[0].error_rate is not None:
        header.append("token errors %")
    if results[0].accuracy is not None:
        header.append("accuracy %")
    return header


def result_cells(result: Evaluation) -> list[str]:
    """Return the cells of a result; see :func:`result_header`."""
    shares = (result.error_rate, result.accuracy)
    return [
        f"{result.loss:.4f}",
        *(f"{100 * share:.2f}" for share in shares if share is not None),
    ]


def _paths(
    args: argparse.Namespace, experiment: SearchExperiment
) -> list[tuple[str, tuple[int, ...]]]:
    """Return names and candidate indices of the architectures to evaluate."""
    space = experiment.space
    if args.all:
        if space.num_architectures > _MOST:
            raise ConfigError(
                f"--all stands for {space.num_architectures} architectures; accepted "
                f"are spaces of at most {_MOST}, or a number of --paths"
            )
        return [(path_name(space, p), p) for p in all_paths(space)]
    if args.paths is not None:
        some = some_paths(space, args.paths, args.seed)
        return [(path_name(space, p), p) for p in some]
    if not args.architectures:
        best = experiment.architecture(args.epoch)
        return [("the most probable one", space.index(best.space))]
    return [(one_line(file), path_of(experiment, file)) for file in args.architectures]


def path_of(experiment: SearchExperiment, file: str) -> tuple[int, ...]:
    """Return the candidate indices of an architecture file.

    Raises:
        ConfigError: If it is damaged, or of another space than the search.
    """
    found = Architecture.read(file)
    try:
        return experiment.space.index(found.space)
    except ConfigError as error:
        raise ConfigError(
            f"{file} does not belong to the search space of {experiment.path}: {error}"
        ) from None
