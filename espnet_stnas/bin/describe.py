"""Print an architecture: its layers, its receptive field, look-ahead and frame rate."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Optional

from espnet_stnas.architecture import Architecture
from espnet_stnas.derive import describe
from espnet_stnas.errors import plain_errors
from espnet_stnas.messages import one_line
from espnet_stnas.streaming import FRAME_SHIFT, describe_view, view_of


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", required=True, help="Architecture file")
    parser.add_argument(
        "--frame_shift",
        type=float,
        default=FRAME_SHIFT,
        help="Milliseconds from one frame of the features to the next",
    )
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    with plain_errors():
        architecture = Architecture.read(args.arch)
        view = describe_view(view_of(architecture.space), args.frame_shift)
    print(describe(architecture, one_line(args.arch)))
    print(view)


if __name__ == "__main__":
    main()
