"""Turn a config.json of the ST-NAS paper's code into a search space."""

from __future__ import annotations

import argparse

from espnet_stnas.cli.parser import add_json, show
from espnet_stnas.files import dump_yaml, write_text
from espnet_stnas.notation.reference import DELTAS, import_config, input_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("file", metavar="CONFIG", help="config.json to read")
    parser.add_argument(
        "--output", required=True, help="YAML to write, with encoder and encoder_conf"
    )
    parser.add_argument(
        "--deltas",
        action="store_true",
        help="Start with a layer that makes derivatives: a third of idim comes in, as "
        "ESPnet's features",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Write the space."""
    space = import_config(args.file, deltas=args.deltas)
    size = input_size(args.file) // (DELTAS if args.deltas else 1)
    conf = {"encoder": "stnas", "encoder_conf": space.to_conf()}
    write_text(args.output, dump_yaml(conf))
    text = (
        f"{args.output}: {len(space.choices)} choices, {space.num_architectures} "
        f"architectures, for frames of {size} dimensions"
    )
    note = None
    if size % DELTAS == 0 and not args.deltas:
        third = size // DELTAS
        note = (
            f"idim is {size} = {third} x {DELTAS}; if these are features with their "
            f"derivatives, as the paper's 120 = 40 x {DELTAS}, give --deltas: ESPnet's "
            f"features are without, and a layer 'deltas' makes {size} of {third}"
        )
        text += f"\nnote: {note}"
    data = {
        "output": args.output,
        "choices": len(space.choices),
        "architectures": space.num_architectures,
        "input_size": size,
        "note": note,
    }
    show(args, text, data)
