"""Write a trained recogniser as ONNX (.onnx) or as a program of torch (.pt2).

In go samples or features, out come the log-probabilities of CTC. The file is compared
with the model before it gets its name.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from espnet_stnas.cli.parser import UsageError, add_json, show, table
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import write_bytes
from espnet_stnas.messages import quote

_CHECKED = 8  # utterances, unless --int8 counts errors


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
        "--input",
        choices=("speech", "features"),
        help="What goes in: samples, or features as the front end makes them (default: "
        "speech, if the training has a front end)",
    )
    parser.add_argument(
        "--encoder_only",
        action="store_true",
        help="Write the encoder alone, for features that are already normalised",
    )
    parser.add_argument(
        "--streaming",
        type=int,
        metavar="FRAMES",
        help="Write one call of a recogniser that runs chunk by chunk, for "
        "chunks of so many frames of features, with its state in and out",
    )
    group = parser.add_argument_group("Check")
    group.add_argument(
        "--check",
        metavar="WAV_SCP[,TEXT]",
        help="Speech to compare with, and transcripts to count errors with (default: "
        "the validation set of the training, or noise if it is gone)",
    )
    group.add_argument(
        "--check_utterances",
        type=int,
        metavar="N",
        help=f"Take the first N utterances (default: {_CHECKED}; with --int8, all)",
    )
    group = parser.add_argument_group("8 bits")
    group.add_argument(
        "--int8",
        action="store_true",
        help="With weights of 8 bits (.onnx), and activations as each input needs",
    )
    group.add_argument(
        "--max_wer_increase",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="Write no file if 8 bits add more percentage points to the word error "
        "rate of greedy decoding",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Write the file, and print how it differs from the model.

    Raises:
        ConfigError: If options or the training do not fit, or the file differs.
    """
    _check_options(args)
    # ESPnet takes seconds to import, so errors in options are found first.
    from espnet_stnas.export.made import HEADER, make, make_int8
    from espnet_stnas.export.training import Training, check_set

    given = "frames" if args.encoder_only else args.input
    if args.streaming is not None and given is None:
        given = "features"
    training = Training.open(
        args.experiment, args.model_file, given, chunk=args.streaming
    )
    test = check_set(training.config, args.check)
    # Errors can be counted where there are transcripts.
    counted = args.int8 and not args.encoder_only
    if counted and (test is None or not test.text):
        raise ConfigError(
            "--int8 counts errors before and after, and there are no transcripts to do "
            "so; give --check WAV_SCP,TEXT"
        )
    module = training.module()
    if test is None:
        speech, source = training.noise(module), "random ones"
    else:
        few = training.inputs(test, args.check_utterances or _CHECKED)
        speech, source = [one for _, one in few], test.source[0]
    made = [make(training, module, speech, Path(args.output).suffix)]
    if args.int8:
        made.append(make_int8(training, made[0], speech))
    if counted and test is not None:
        made = [one.scored(training, test, args.check_utterances) for one in made]
        _refuse_worse(args, *(one.wer for one in made))
    write_bytes(args.output, made[-1].data)
    found = made[0].comparison
    rows = [["torch", "", f"{found.torch_milliseconds:.3g}", "", ""]]
    rows[0] += ["", ""] * counted
    rows += [one.row() for one in made]
    header = [*HEADER, *["WER %", "CER %"] * counted]
    text = (
        f"{args.output}: {training.describe()}, weights of {training.weights}\n"
        f"compared with the model on {found.utterances} utterances ({source}, "
        f"{found.frames} output frames):\n{table(header, rows)}"
    )
    for one in made:
        if one.call_milliseconds is not None:
            text += (
                f"\n{one.name}: {one.call_milliseconds:.3g} ms a call with a chunk of "
                f"{args.streaming} frames"
            )
    decoder = getattr(training.model, "decoder", None)
    if decoder is not None and not args.encoder_only:
        name = type(decoder).__name__
        text += f"\nnote: the file has no {name}, which ESPnet also decodes with"
    data = {
        "output": args.output,
        "metadata": {**training.metadata(), **module.metadata()},
        "utterances": source,
        "torch_milliseconds": found.torch_milliseconds,
        "files": [one.to_dict() for one in made],
    }
    show(args, text, data)


def _check_options(args: argparse.Namespace) -> None:
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
    if args.streaming is not None and args.input == "speech":
        raise UsageError(
            "--input speech is for whole utterances; --streaming takes features"
        )
    if args.encoder_only and args.input is not None:
        raise UsageError(
            f"--input {args.input} is for a whole recogniser; --encoder_only takes "
            "normalised features"
        )
    if args.check_utterances is not None and args.check_utterances < 1:
        raise ConfigError(
            f"check_utterances is {args.check_utterances}; accepted is an integer from "
            "1 on"
        )
    if not 0 <= args.max_wer_increase <= 100:
        raise ConfigError(
            f"max_wer_increase is {args.max_wer_increase}; accepted are percentage "
            "points from 0 to 100"
        )


def _refuse_worse(args: argparse.Namespace, before: Any, after: Any) -> None:
    if after - before > args.max_wer_increase:
        raise ConfigError(
            f"{args.output} is not written: 8 bits raise the word error rate from "
            f"{before:.2f} to {after:.2f} %, and accepted is an increase of "
            f"{args.max_wer_increase:g} (--max_wer_increase)"
        )
