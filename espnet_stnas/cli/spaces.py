"""Options of the sub-commands that read architectures or search spaces. No torch."""

from __future__ import annotations

import argparse
from typing import Optional

from espnet_stnas.notation.reach import FRAME_SHIFT
from espnet_stnas.results.show import CostRange, SpaceFile


def add_space_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the sizes and costs of a space."""
    parser.add_argument(
        "--input_size",
        type=int,
        help="Dimensions of an input frame (default: as the file says)",
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=1000,
        help="Length of the utterance whose multiply-accumulates count",
    )
    parser.add_argument(
        "--frame_shift",
        type=float,
        default=FRAME_SHIFT,
        help="Milliseconds from one frame of the features to the next",
    )


def size_of(file: SpaceFile, args: argparse.Namespace) -> Optional[int]:
    """Return the dimensions of an input frame, if known."""
    return file.input_size if args.input_size is None else args.input_size


def costs_of(file: SpaceFile, args: argparse.Namespace) -> list[CostRange]:
    """Return parameters and multiply-accumulates; none if the size is unknown."""
    # torch takes seconds to import; --help does not need it.
    from espnet_stnas.cost.counts import macs_table, parameter_table

    size = size_of(file, args)
    if size is None:
        return []
    tables = {
        f"parameters of the encoder with input_size {size}": parameter_table(
            file.space, size
        ),
        f"multiply-accumulates for {args.frames} frames": macs_table(
            file.space, size, args.frames
        ),
    }
    return [CostRange(name, t.minimum, t.maximum) for name, t in tables.items()]
