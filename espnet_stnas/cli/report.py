"""Report on searches: one HTML page, and its figures as files.

Examples:
  python3 -m espnet_stnas.cli.report exp/search
  python3 -m espnet_stnas.cli.report exp/search_a exp/search_b exp/train_conformer

Each experiment is the output directory of a search, also of one that runs, or of a
training that is to be compared. Several searches are put side by side.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.files import read_yaml_mapping, write_text
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.drawing import save_figure
from espnet_stnas.report.page import figures_of, report_page, tradeoff_figures
from espnet_stnas.report.summary import Summary, summarise
from espnet_stnas.report.trainings import Training, open_training, short_names


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "experiments", nargs="+", help="Directories of searches, and of trainings"
    )
    parser.add_argument(
        "--arch",
        help="Architecture file derived from the only search (default: that of its "
        "last epoch)",
    )
    parser.add_argument(
        "--output_dir", help="Where to put page and figures (default: SEARCH/report)"
    )
    parser.add_argument(
        "--format",
        default="png",
        choices=("png", "svg", "pdf"),
        help="Of the figures' files",
    )
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    with plain_errors():
        searches = [e for e in args.experiments if _is_search(e)]
        others = [e for e in args.experiments if e not in searches]
        if not searches:
            raise ConfigError(
                f"none of {', '.join(args.experiments)} is a search; accepted is at "
                "least one output_dir of espnet_stnas.cli.asr_search"
            )
        if args.arch is not None and len(searches) > 1:
            raise ConfigError(
                f"arch is given for {len(searches)} searches; accepted is one search"
            )
        if args.output_dir is None and len(searches) > 1:
            raise ConfigError(
                "output_dir is missing; it is needed for several searches"
            )
        summaries = [
            summarise(path, arch=args.arch, parameters=_parameters) for path in searches
        ]
        trainings = [
            _training(path, name)
            for path, name in zip(others, short_names(others), strict=True)
        ]
        directory = Path(args.output_dir or Path(searches[0]) / "report")
        for path in write_report(summaries, trainings, directory, args.format):
            print(path)


def write_report(
    summaries: Sequence[Summary],
    trainings: Sequence[Training],
    directory: Path,
    suffix: str,
) -> list[Path]:
    """Write page and figures; returns the files, the page first.

    Args:
        summaries: The searches.
        trainings: Trained encoders to compare.
        directory: Where to put the files; figures of several searches go into a
            directory each.
        suffix: Format of the figures' files.
    """
    figures = [figures_of(summary) for summary in summaries]
    tradeoffs = tradeoff_figures(summaries, trainings)
    files = [directory / "report.html"]
    searches = list(zip(summaries, figures, strict=True))
    write_text(files[0], report_page(searches, trainings, tradeoffs))
    for test, figure in tradeoffs.items():
        name = test.replace("/", "_")
        files.append(directory / f"errors_{name}.{suffix}")
        save_figure(figure, files[-1])
    for number, found in enumerate(figures, start=1):
        place = directory if len(figures) == 1 else directory / f"search{number}"
        for name, figure in found.items():
            files.append(place / f"{name}.{suffix}")
            save_figure(figure, files[-1])
    return files


def _is_search(path: str) -> bool:
    if not Path(path).is_dir():
        raise ConfigError(
            f"{path} is no directory; accepted is the output_dir of a search or of a "
            "training"
        )
    config = read_yaml_mapping(Path(path) / "config.yaml", "experiment config")
    return "warmup_epochs" in config


def _parameters(space: SearchSpace, size: int) -> Sequence[Sequence[int]]:
    from espnet_stnas.cost.counts import layer_parameters

    return layer_parameters(space, size)


def _training(path: str, name: str) -> Training:
    from espnet_stnas.report.table import count_parameters

    return open_training(path, count_parameters(path), name)


if __name__ == "__main__":
    main(sys.argv[1:])
