"""Draw a search: probabilities, how sure they are, and the derived architecture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from espnet_stnas.architecture import Architecture
from espnet_stnas.errors import plain_errors
from espnet_stnas.report.figures import (
    save_architecture,
    save_certainty,
    save_probabilities,
)
from espnet_stnas.search.experiment import SearchExperiment


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search_exp", required=True, help="output_dir of a search")
    parser.add_argument("--arch", help="Architecture file (default: the last epoch's)")
    parser.add_argument("--output_dir", required=True, help="Where to put the figures")
    parser.add_argument("--format", default="png", choices=("png", "svg", "pdf"))
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    with plain_errors():
        experiment = SearchExperiment.open(args.search_exp)
        last = experiment.architecture()
        architecture = Architecture.read(args.arch) if args.arch else last
        space, history = experiment.space, experiment.history()
        for name, save in (
            ("probabilities", lambda p: save_probabilities(space, history, p)),
            ("certainty", lambda p: save_certainty(space, history, p)),
            ("architecture", lambda p: save_architecture(architecture, p)),
        ):
            path = Path(args.output_dir) / f"{name}.{args.format}"
            save(path)
            print(path)


if __name__ == "__main__":
    main()
