"""Put trained encoders into one table: errors, size, training time, speed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from espnet_stnas.errors import plain_errors
from espnet_stnas.files import write_text


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="+", help="Training experiments")
    parser.add_argument("--data", required=True, help="Test set, with wav.scp")
    parser.add_argument(
        "--utterances", type=int, default=50, help="How many to measure speed on"
    )
    parser.add_argument("--model_file", default="valid.loss.ave.pth")
    parser.add_argument("--score_file", default="decode_test/score.yaml")
    parser.add_argument("--output", help="Markdown file to write")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    # ESPnet takes seconds to import; --help does not need it.
    from espnet_stnas.report.table import collect, markdown, read_wavs

    with plain_errors():
        wavs = read_wavs(Path(args.data) / "wav.scp", args.utterances)
        table = markdown(
            collect(
                args.experiments,
                wavs=wavs,
                model_file=args.model_file,
                score_file=args.score_file,
            )
        )
        if args.output:
            write_text(args.output, table)
    print(table, end="")


if __name__ == "__main__":
    main()
