"""Measure how long every candidate of a search space takes on this machine."""

from __future__ import annotations

import argparse

from espnet_stnas.cli.parser import UsageError
from espnet_stnas.errors import ConfigError
from espnet_stnas.results.show import read_space_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "file", metavar="FILE", help="YAML with encoder_conf, or directory of a search"
    )
    parser.add_argument(
        "--input_size",
        type=int,
        help="Dimensions of an input frame (default: as the file says)",
    )
    parser.add_argument(
        "--frames", type=int, default=1000, help="Length of the utterance, in frames"
    )
    parser.add_argument(
        "--runtime",
        choices=("torch", "onnxruntime"),
        default="torch",
        help="What runs the layers",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "int8"),
        default="fp32",
        help="int8 is for onnxruntime: weights of 8 bits, as stnas export --int8",
    )
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for torch")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument(
        "--repeat", type=int, default=20, help="Measurements, whose median counts"
    )
    parser.add_argument("--output", required=True, help="YAML file to write")


def run(args: argparse.Namespace) -> None:
    """Measure, and write the table.

    Raises:
        ConfigError: If the size of the input is not known.
        UsageError: If the options do not go together.
    """
    if args.precision == "int8" and args.runtime == "torch":
        raise UsageError("--precision int8 is for --runtime onnxruntime")
    file = read_space_file(args.file, whole_space=True)
    size = file.input_size if args.input_size is None else args.input_size
    if size is None:
        raise ConfigError(
            f"{args.file} does not say the dimensions of an input frame; give "
            "--input_size"
        )
    # torch takes seconds to import.
    from espnet_stnas.cost.latency import TORCH, measure_latency
    from espnet_stnas.cost.table import with_unit

    runtime = TORCH
    if args.runtime == "onnxruntime":
        from espnet_stnas.export.latency import onnx_runtime

        runtime = onnx_runtime(args.precision, args.device, args.threads)
    table = measure_latency(
        file.space,
        size,
        args.frames,
        device=args.device,
        threads=args.threads,
        repeat=args.repeat,
        runtime=runtime,
    )
    table.write(args.output)
    costs = table.costs(file.space, size, args.output)
    print(
        f"{args.output}: architectures of {with_unit('latency', costs.minimum)} to "
        f"{with_unit('latency', costs.maximum)} for {args.frames} frames: "
        f"{table.conditions}"
    )
