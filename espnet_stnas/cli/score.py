"""Score a decoding: word and character error rate."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Optional

from espnet_stnas.errors import plain_errors
from espnet_stnas.files import dump_yaml, write_text
from espnet_stnas.results.error_rates import error_rates


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ref", required=True, help="text file of the test set")
    parser.add_argument("--hyp", required=True, help="text file of the decoding")
    parser.add_argument("--output", help="YAML file to write the score to")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    with plain_errors():
        result = error_rates(args.ref, args.hyp)
        if args.output:
            write_text(args.output, dump_yaml(result.to_dict()))
    print(result)


if __name__ == "__main__":
    main()
