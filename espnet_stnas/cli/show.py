"""Show architectures and search spaces: layers, widths, receptive field."""

from __future__ import annotations

import argparse
from typing import Any

from espnet_stnas.cli.parser import add_json, show
from espnet_stnas.cli.spaces import add_space_options, costs_of, size_of
from espnet_stnas.results.layer_table import LayerRow, layer_rows
from espnet_stnas.results.show import SpaceFile, read_space_file, show_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="Architecture file, YAML with an encoder_conf, or directory of a search "
        "or training",
    )
    parser.add_argument(
        "--costs",
        action="store_true",
        help="Count parameters and multiply-accumulates, too; takes seconds",
    )
    add_space_options(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Print the contents of each file."""
    found = [_read(path, args) for path in args.files]
    text = "\n\n".join(_text(file, rows, args) for file, rows in found)
    show(args, text, {"files": [_data(file, rows, args) for file, rows in found]})


def _read(path: str, args: argparse.Namespace) -> tuple[SpaceFile, list[LayerRow]]:
    file = read_space_file(path)
    size = size_of(file, args)
    parameters = None
    if args.costs and size is not None:
        # torch takes seconds to import.
        from espnet_stnas.cost.counts import layer_parameters

        parameters = layer_parameters(file.space, size)
    rows = layer_rows(
        file.space,
        pis=file.architecture.decisions(),
        input_size=size,
        parameters=parameters,
    )
    return file, rows


def _text(file: SpaceFile, rows: list[LayerRow], args: argparse.Namespace) -> str:
    costs = costs_of(file, args) if args.costs else []
    text = show_text(file, rows, costs, args.frame_shift)
    if size_of(file, args) is None:
        text += "\n  sizes: give --input_size, the dimensions of an input frame"
    return text


def _data(
    file: SpaceFile, rows: list[LayerRow], args: argparse.Namespace
) -> dict[str, Any]:
    return {
        "file": file.name,
        "architectures": file.space.num_architectures,
        "input_size": size_of(file, args),
        "layers": [
            {
                "number": row.number,
                "operations": row.ops,
                "probability": row.probability,
                "width": row.width,
                "skip": row.skip,
                "parameters": row.parameters,
                "stride": row.view.stride,
                "frames_before": row.view.left,
                "frames_after": row.view.right,
            }
            for row in rows
        ],
        "costs": [
            {"name": c.name, "least": c.least, "most": c.most}
            for c in (costs_of(file, args) if args.costs else [])
        ],
    }
