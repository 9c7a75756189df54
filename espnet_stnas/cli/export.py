"""Write the encoder of a training as ONNX (.onnx) or as a program of torch (.pt2).

Frames that go in are features as the training has them, normalised.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "experiment", metavar="TRAIN_EXP", help="Directory of the training"
    )
    parser.add_argument(
        "--model_file",
        help="Weights, a file in it (default: valid.loss.ave.pth, valid.acc.ave.pth, "
        "or the best epoch's)",
    )
    parser.add_argument(
        "--output", required=True, help="File to write: .onnx, or .pt2 for torch"
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="With weights of 8 bits (.onnx), and activations as each input needs",
    )


def run(args: argparse.Namespace) -> None:
    """Write the file, and print its inputs."""
    suffix = Path(args.output).suffix
    if suffix not in (".onnx", ".pt2"):
        raise ConfigError(
            f"output is {quote(args.output)}; accepted is a name that ends in .onnx "
            "or .pt2"
        )
    if args.int8 and suffix != ".onnx":
        raise ConfigError(
            f"output is {quote(args.output)}; accepted with --int8 is a name that ends "
            "in .onnx, since torch's programs are not quantised"
        )
    # ESPnet takes seconds to import, so errors in options are found first.
    from espnet_stnas.export.program import export_program, write_onnx, write_program
    from espnet_stnas.export.quantised import write_int8
    from espnet_stnas.host.trained import trained_encoder, weights_file

    weights = weights_file(args.experiment, args.model_file)
    encoder, size, features = trained_encoder(args.experiment, weights)
    program = export_program(encoder, size)
    print(f"{args.output}: encoder of {weights}, for frames of {size} ({features})")
    if args.int8:
        difference, largest = write_int8(program, size, args.output)
        print(
            f"int8: on one random input, outputs differ by at most {difference:.3g} "
            f"from those without it, which reach {largest:.3g}"
        )
    elif suffix == ".onnx":
        write_onnx(program, args.output)
    else:
        write_program(program, args.output)
