"""Count parameters, multiply-accumulates and look-ahead, and look up the latency.

Of a search space: from the cheapest architecture to the most expensive one.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

from espnet_stnas.cli.parser import add_json, show
from espnet_stnas.cli.spaces import add_space_options, costs_of, size_of
from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.reach import check_frame_shift, narrowest_view, view_of
from espnet_stnas.results.show import CostRange, read_space_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="Architecture file, YAML with an encoder_conf, or directory of a search "
        "or training",
    )
    add_space_options(parser)
    parser.add_argument("--latency_table", help="File that stnas measure-latency wrote")
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Print the costs."""
    file = read_space_file(args.file)
    size = size_of(file, args)
    if size is None:
        raise ConfigError(
            f"{args.file} does not say the dimensions of an input frame; give "
            "--input_size"
        )
    costs = costs_of(file, args)
    least, most = (view(file.space).right for view in (narrowest_view, view_of))
    if math.isfinite(most):
        name = f"ms of look-ahead with frames {args.frame_shift:g} ms apart"
        check_frame_shift(args.frame_shift)
        shift = args.frame_shift
        costs.append(CostRange(name, least * shift, most * shift))
    if args.latency_table is not None:
        from espnet_stnas.cost.latency_table import LatencyTable

        measured = LatencyTable.read(args.latency_table)
        found = measured.costs(file.space, size, args.latency_table)
        name = f"microseconds for {measured.frames} frames ({measured.conditions})"
        costs.append(CostRange(name, found.minimum, found.maximum))
    show(args, "\n".join(f"{c.name}: {c}" for c in costs), {"costs": _data(costs)})


def _data(costs: list[CostRange]) -> list[dict[str, Any]]:
    return [{"name": c.name, "least": c.least, "most": c.most} for c in costs]
