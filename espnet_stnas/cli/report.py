"""Report on searches and trainings: table, HTML page, figures, errors against costs.

Each experiment is the output directory of a search, also of one that runs, of a
training that is to be compared, or of stnas verify. Several searches are put side by
side. Trainings stand in a table, which is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Optional

from espnet_stnas.cli.parser import add_frames, add_json, show
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.evaluated import Evaluated, EvaluatedPoint
from espnet_stnas.report.summary import Summary, summarise
from espnet_stnas.report.table import markdown, training_data
from espnet_stnas.report.trainings import Training, open_training, short_names
from espnet_stnas.report.verified import FILE as VERIFICATION
from espnet_stnas.report.verified import read_verified
from espnet_stnas.selection.data import DATA_SETS
from espnet_stnas.selection.log import DIRECTORY, EvaluationLog


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "experiments",
        metavar="EXP",
        nargs="+",
        help="Directories of searches, of trainings, and of stnas verify",
    )
    parser.add_argument(
        "--output",
        help="Directory for page, tables and figures (default: SEARCH/report of the "
        "only search; nothing is written without a search)",
    )
    parser.add_argument(
        "--arch",
        help="Architecture file derived from the only search (default: that of its "
        "last epoch)",
    )
    parser.add_argument(
        "--format",
        default="png",
        choices=("png", "svg", "pdf"),
        help="Of the figures' files",
    )
    group = parser.add_argument_group("Trained encoders")
    group.add_argument(
        "--data", help="Test set with wav.scp, to measure real-time factors on"
    )
    group.add_argument(
        "--utterances", type=int, default=50, help="How many of it to measure on"
    )
    group.add_argument(
        "--model_file",
        help="Weights to measure with, a file in each training (default: "
        "valid.loss.ave.pth, valid.acc.ave.pth, or the best epoch's)",
    )
    group.add_argument(
        "--metric",
        default="wer",
        choices=("wer", "cer"),
        help="Errors that are put against costs",
    )
    add_frames(group)
    group.add_argument(
        "--latency_table",
        help="File that stnas measure-latency wrote, for errors against latency",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Print the table, and write the files."""
    searches = [e for e in args.experiments if _is_search(e)]
    verified = {e: read_verified(e) for e in args.experiments if _is_verified(e)}
    others = [e for e in args.experiments if e not in (*searches, *verified)]
    if args.arch is not None and len(searches) != 1:
        raise ConfigError(
            f"arch is given for {len(searches)} searches; accepted is one search"
        )
    if args.output is None and len(searches) > 1:
        raise ConfigError("output is missing; it is needed for several searches")
    if args.data is not None and not others:
        raise ConfigError(
            "data is given, and no training, whose speed is measured on it"
        )
    summaries = [
        _with_evaluations(summarise(path, arch=args.arch, parameters=_parameters))
        for path in searches
    ]
    trainings = _trainings(others, args)
    files: list[Path] = []
    if searches or args.output:
        # matplotlib and torch take long to import.
        from espnet_stnas.report.costs import points_of
        from espnet_stnas.report.write import write_report

        points = points_of(
            summaries,
            trainings,
            metric=args.metric,
            frames=args.frames,
            latency_table=args.latency_table,
        )
        files = write_report(
            summaries,
            trainings,
            points,
            Path(args.output or Path(searches[0]) / "report"),
            verified={Path(path).name: found for path, found in verified.items()},
            suffix=args.format,
            metric=args.metric,
        )
    lines = [markdown(trainings)] if trainings else []
    lines += list(map(str, files))
    data = {
        "searches": [_search_data(summary) for summary in summaries],
        "trainings": [training_data(training) for training in trainings],
        "files": files,
    }
    show(args, "\n".join(lines).rstrip("\n"), data)


def _is_search(path: str) -> bool:
    if not Path(path).is_dir():
        raise ConfigError(
            f"{path} is no directory; accepted is that of a search, of a training or "
            "of stnas verify"
        )
    if _is_verified(path):
        return False
    config = read_yaml_mapping(Path(path) / "config.yaml", "experiment config")
    # The second, if the first is cut off.
    return "warmup_epochs" in config or (Path(path) / "architectures").is_dir()


def _is_verified(path: str) -> bool:
    return (Path(path) / VERIFICATION).exists()


def _parameters(space: SearchSpace, size: int) -> Sequence[Sequence[int]]:
    from espnet_stnas.cost.counts import layer_parameters

    return layer_parameters(space, size)


def _with_evaluations(summary: Summary) -> Summary:
    """Add what was evaluated on the validation set, or else on another one."""
    for data in DATA_SETS:
        file = summary.experiment.path / DIRECTORY / f"{data}.csv"
        epoch, results = EvaluationLog(file, summary.space).latest()
        if epoch is not None:
            break
    else:
        return summary
    size = summary.architecture.provenance.input_size
    counts = None if size is None else _parameters(summary.space, size)
    points = [
        EvaluatedPoint(
            path,
            found.loss,
            found.error_rate,
            None if counts is None else _count(summary.space, counts, path),
        )
        for path, found in results.items()
    ]
    chosen = summary.space.index(summary.architecture.space)
    evaluated = Evaluated.of(points, summary.space, epoch, data, chosen)
    return replace(summary, evaluated=evaluated)


def _count(
    space: SearchSpace, counts: Sequence[Sequence[int]], path: Sequence[int]
) -> int:
    return sum(
        layer[0 if choice is None else path[choice]]
        for choice, layer in zip(space.choice_numbers, counts, strict=True)
    )


def _trainings(paths: Sequence[str], args: argparse.Namespace) -> list[Training]:
    if not paths:
        return []
    opened = [
        open_training(path, name=name)
        for path, name in zip(paths, short_names(paths), strict=True)
    ]
    # ESPnet takes seconds to import, so damaged files are found first.
    from espnet_stnas.report.speed import model_sizes, read_wavs, real_time_factors

    factors: Sequence[Optional[float]] = [None] * len(paths)
    if args.data is not None:
        wavs = read_wavs(Path(args.data) / "wav.scp", args.utterances)
        factors = real_time_factors(paths, wavs, args.model_file)
    return [
        replace(training, sizes=model_sizes(training.path), rtf=factor)
        for training, factor in zip(opened, factors, strict=True)
    ]


def _search_data(summary: Summary) -> dict[str, object]:
    return {
        "name": summary.name,
        "path": str(summary.experiment.path),
        "epochs": summary.epochs,
        "finished": summary.finished,
        "encoder_parameters": summary.parameters,
        "layers": [row.op for row in summary.rows],
        "findings": summary.findings,
        "doubts": summary.warnings,
    }
