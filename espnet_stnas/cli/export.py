"""Write a trained fixed encoder as ONNX (.onnx) or as a program of torch (.pt2)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.messages import quote


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", required=True, help="Architecture file")
    parser.add_argument(
        "--model_file", required=True, help="Its weights: valid.loss.best.pth"
    )
    parser.add_argument(
        "--output", required=True, help="File to write: .onnx, or .pt2 for torch"
    )
    parser.add_argument(
        "--input_size",
        type=int,
        default=80,
        help="Dimensions of a frame of the features (n_mels of ESPnet's frontend)",
    )
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    with plain_errors():
        if Path(args.output).suffix not in (".onnx", ".pt2"):
            raise ConfigError(
                f"output is {quote(args.output)}; accepted is a name that ends in "
                ".onnx or .pt2"
            )
        # ESPnet takes seconds to import; --help does not need it.
        from espnet_stnas.export.program import (
            export_program,
            write_onnx,
            write_program,
        )
        from espnet_stnas.host.encoder import STNASEncoder
        from espnet_stnas.network.weights import encoder_weights, read_weights
        from espnet_stnas.results.architecture import Architecture

        space = Architecture.read(args.arch).space
        encoder = STNASEncoder(args.input_size, **space.to_conf())
        weights = encoder_weights(read_weights(args.model_file), args.model_file)
        try:
            encoder.load_state_dict(weights)
        except RuntimeError as error:
            raise ConfigError(f"{args.model_file}: {error}") from error
        program = export_program(encoder, args.input_size)
        write = write_onnx if args.output.endswith(".onnx") else write_program
        write(program, args.output)
    print(args.output)


if __name__ == "__main__":
    main()
