"""Show an architecture or a search space: layers, sizes, costs, receptive field.

Examples:
  python3 -m espnet_stnas.cli.show architecture.yaml
  python3 -m espnet_stnas.cli.show conf/space/conformer.yaml --input_size 80
  python3 -m espnet_stnas.cli.show --diff architecture.yaml other.yaml
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Optional

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.notation.reach import FRAME_SHIFT
from espnet_stnas.results.layer_table import layer_rows
from espnet_stnas.results.show import (
    CostRange,
    SpaceFile,
    difference,
    read_space_file,
    show_text,
)


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "file", nargs="*", help="Architecture files, or YAML files with an encoder_conf"
    )
    parser.add_argument(
        "--diff",
        nargs=2,
        metavar=("A", "B"),
        help="Show what differs between two files; the exit status is 1 if something "
        "does",
    )
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
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    same = True
    with plain_errors():
        if not args.file and not args.diff:
            raise ConfigError("no file is given; accepted are files, or --diff A B")
        texts = [_show(read_space_file(path), args) for path in args.file]
        if args.diff:
            one, other = map(read_space_file, args.diff)
            known = _costs(one, args), _costs(other, args)
            pairs = list(zip(*known, strict=True)) if all(known) else []
            text, same = difference(one, other, pairs)
            texts.append(text)
    print("\n\n".join(texts))
    if not same:
        raise SystemExit(1)


def _show(file: SpaceFile, args: argparse.Namespace) -> str:
    from espnet_stnas.cost.counts import layer_parameters

    size = _size(file, args)
    rows = layer_rows(
        file.space,
        pis=file.architecture.decisions(),
        input_size=size,
        parameters=None if size is None else layer_parameters(file.space, size),
    )
    text = show_text(file, rows, _costs(file, args), args.frame_shift)
    if size is None:
        text += "\n  sizes: give --input_size, the dimensions of an input frame"
    return text


def _costs(file: SpaceFile, args: argparse.Namespace) -> list[CostRange]:
    """Parameters and multiply-accumulates; none without the size of a frame."""
    # torch takes seconds to import; --help does not need it.
    from espnet_stnas.cost.counts import macs_table, parameter_table

    size = _size(file, args)
    if size is None:
        return []
    tables = {
        f"parameters with input_size {size}": parameter_table(file.space, size),
        f"multiply-accumulates for {args.frames} frames": macs_table(
            file.space, size, args.frames
        ),
    }
    return [CostRange(name, t.minimum, t.maximum) for name, t in tables.items()]


def _size(file: SpaceFile, args: argparse.Namespace) -> Optional[int]:
    return file.input_size if args.input_size is None else args.input_size


if __name__ == "__main__":
    main()
