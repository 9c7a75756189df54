"""Score a decoding: word and character error rate."""

from __future__ import annotations

import argparse

from espnet_stnas.cli.parser import add_json, show
from espnet_stnas.files import dump_yaml, write_text
from espnet_stnas.results.error_rates import error_rates


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("ref", metavar="REF", help="text file of the test set")
    parser.add_argument("hyp", metavar="HYP", help="text file of the decoding")
    parser.add_argument("--output", help="YAML file to write the score to")
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Compute and print the error rates."""
    result = error_rates(args.ref, args.hyp)
    if args.output:
        write_text(args.output, dump_yaml(result.to_dict()))
    show(args, str(result), result.to_dict())
