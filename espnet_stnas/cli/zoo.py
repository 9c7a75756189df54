"""List the architectures that come with the package, with what was measured of each.

All commands, and --arch of the recipes, take them by name: zoo:NAME. Errors are those
of the corpus that is named; on yours they will be others, and so may be their order.
"""

from __future__ import annotations

import argparse
import math

from espnet_stnas.cli.parser import add_frames, add_json, show, table
from espnet_stnas.notation.reach import FRAME_SHIFT, view_of
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.collection import PREFIX, zoo_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_frames(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Print the table."""
    # Counting builds the operations; torch takes seconds to import.
    from espnet_stnas.cost.counts import macs_table, parameter_table

    found = []
    for name in zoo_names():
        architecture = Architecture.read(PREFIX + name)
        space, provenance = architecture.space, architecture.provenance
        size = provenance.input_size
        assert size is not None
        found.append(
            {
                "name": PREFIX + name,
                "corpus": provenance.others["corpus"],
                "errors": provenance.others["errors"],
                "parameters": round(parameter_table(space, size).fixed),
                "macs": round(macs_table(space, size, args.frames).fixed),
                "look_ahead_ms": view_of(space).right * FRAME_SHIFT,
            }
        )
    rows = [
        [
            f"{entry['name']}",
            f"{entry['parameters']:,}",
            f"{entry['macs'] / 1e6:,.0f} M",
            _time(entry["look_ahead_ms"]),
            f"{entry['errors']}",
            f"{entry['corpus']}",
        ]
        for entry in found
    ]
    header = ["name", "parameters", "MACs", "look-ahead", "errors", "corpus"]
    show(args, table(header, rows), {"architectures": found})


def _time(milliseconds: float) -> str:
    if math.isinf(milliseconds):
        return "the whole utterance"
    return f"{milliseconds:,.0f} ms"
