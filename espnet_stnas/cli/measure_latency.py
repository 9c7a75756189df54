"""Measure how long every candidate of a search space takes on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Optional

from espnet_stnas.errors import plain_errors
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.notation.space import SearchSpace


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--space", required=True, help="YAML with encoder_conf: that of a search, say"
    )
    parser.add_argument(
        "--input_size", type=int, required=True, help="Dimensions of an input frame"
    )
    parser.add_argument(
        "--frames", type=int, default=1000, help="Length of the utterance, in frames"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument(
        "--repeat", type=int, default=20, help="Measurements, whose median counts"
    )
    parser.add_argument("--output", required=True, help="YAML file to write")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    # torch takes seconds to import; --help does not need it.
    from espnet_stnas.cost.latency import measure_latency
    from espnet_stnas.cost.table import with_unit

    with plain_errors():
        config = read_yaml_mapping(args.space, "search space")
        space = SearchSpace.from_conf(config.get("encoder_conf") or {})
        table = measure_latency(
            space,
            args.input_size,
            args.frames,
            device=args.device,
            threads=args.threads,
            repeat=args.repeat,
        )
        table.write(args.output)
        costs = table.costs(space, args.input_size, args.output)
    print(
        f"{args.output}: architectures of {with_unit('latency', costs.minimum)} to "
        f"{with_unit('latency', costs.maximum)} for {args.frames} frames on "
        f"{table.device}, {table.threads} CPU thread(s)"
    )


if __name__ == "__main__":
    main()
