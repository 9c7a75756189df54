"""The command `stnas`; it imports only the sub-command in use. No torch."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Optional

from espnet_stnas.errors import plain_errors
from espnet_stnas.version import __version__

# In the order of the work flow; each sub-command has a file of its name.
COMMANDS = {
    "demo": "search, retrain and decode on spoken digits, on this machine",
    "search": "search an architecture: ESPnet's training, of a supernet",
    "derive": "derive an architecture from a search, and a training YAML with it",
    "evaluate": "loss and errors of architectures with the weights of a search",
    "select": "the best architectures of a search under limits; Pareto fronts",
    "extract": "a trained model of an architecture, with the weights of a search",
    "verify": "train the best ones: is the search better than chance?",
    "report": "table, page and figures of searches and trainings",
    "show": "layers, widths and receptive field of architectures and search spaces",
    "diff": "what differs between two architectures or search spaces",
    "cost": "parameters, multiply-accumulates and latency",
    "measure-latency": "measure how long the candidates of a space take here",
    "baselines": "training YAMLs of architectures to compare a search with",
    "decode": "decode with CTC, a lexicon and a word LM",
    "score": "word and character error rate of a decoding",
    "export": "write a trained encoder as ONNX or as a program of torch",
    "label-lm": "make or check the label LM of CTC-CRF",
    "lexicon": "turn words into units, such as phones",
    "check-features": "compare the features of a search and of a training",
    "import-reference": "read a config.json of the paper's code",
    "autoload": "let plain python3 know the encoder 'stnas'",
    "zoo": "architectures that come with the package, and their results",
    "doctor": "what this environment has and lacks",
}


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command.

    Args:
        cmd: Arguments of the command line; default: those of the process.

    Raises:
        SystemExit: With 1 after an error of one sentence or a difference; with 2 after
            wrong usage.
    """
    parser = _parser()
    args = parser.parse_args(sys.argv[1:] if cmd is None else list(cmd))
    if args.command is None:
        parser.print_help()
        raise SystemExit(2)
    if args.debug or "--debug" in args.words:
        os.environ["STNAS_DEBUG"] = "1"
    if args.command == "search":
        # `search` has the options of ESPnet's training, which its own parser reads.
        from espnet_stnas.search import program

        program.main([word for word in args.words if word != "--debug"])
        return
    from espnet_stnas.cli.parser import run

    with plain_errors():
        status = run(args.command, args.words)
    if status:
        raise SystemExit(status)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="stnas",
        usage="stnas [--version] [--debug] COMMAND ...",
        description="Straight-through architecture search for ESPnet speech encoders.",
        epilog="\n".join(["commands (stnas COMMAND --help says more):", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"espnet_stnas {__version__}"
    )
    parser.add_argument(
        "--debug",
        action="store_true",
        help="show the traceback behind an error (also: STNAS_DEBUG=1)",
    )
    parser.add_argument(
        "command", nargs="?", choices=COMMANDS, metavar="COMMAND", help="see below"
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser
