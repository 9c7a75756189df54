"""Make a label LM for CTC-CRF from the training text, or read one, and check it."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter

from espnet_stnas.cli.parser import UsageError, add_json, show
from espnet_stnas.ctc_crf.arpa import read_arpa, write_arpa
from espnet_stnas.ctc_crf.estimate import SMOOTHINGS, EstimationOptions
from espnet_stnas.ctc_crf.label_lm import (
    UNKNOWN,
    Units,
    describe,
    estimate_lm,
    labels_of,
    perplexity,
    write_training_config,
)
from espnet_stnas.ctc_crf.lm import LabelLM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "text", metavar="TEXT", nargs="*", help="Kaldi text files of the training set"
    )
    parser.add_argument(
        "--token_list", required=True, help="The token list of the training"
    )
    parser.add_argument("--arpa", help="Instead of TEXT: a model made by another tool")
    parser.add_argument("--heldout", help="Kaldi text file to print a perplexity of")
    group = parser.add_argument_group("The model")
    group.add_argument("--order", type=int, default=4, help="Labels of an n-gram")
    group.add_argument(
        "--smoothing",
        choices=SMOOTHINGS,
        default="kn",
        help="Modified Kneser-Ney, Witten-Bell, or none",
    )
    group.add_argument(
        "--min_counts",
        type=int,
        nargs="+",
        default=[1],
        help="How often n-grams of 1, 2, ... labels must occur to be kept; the last "
        "number stands for all longer ones",
    )
    group = parser.add_argument_group("Units of the text, as in the training")
    group.add_argument(
        "--token_type",
        default="char",
        choices=("char", "bpe", "word", "phn"),
        help="Kind of the labels",
    )
    group.add_argument("--bpemodel", help="For --token_type bpe")
    group.add_argument("--g2p", help="For --token_type phn")
    group.add_argument("--cleaner", help="Text cleaner")
    group.add_argument("--non_linguistic_symbols", help="File with one per line")
    group.add_argument(
        "--map_unknown",
        action="store_true",
        help=f"Take labels that are not in the token list for {UNKNOWN}, as the "
        "training does, instead of stopping",
    )
    group = parser.add_argument_group("What to write")
    group.add_argument("--output", help="ARPA file; with gzip if it ends in .gz")
    group.add_argument("--train_config", help="ESPnet training YAML")
    group.add_argument(
        "--train_output",
        help="Training YAML to write: train_config with model ctc_crf and the label LM "
        "inside",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Make or read the model, write it, and print its properties."""
    if (args.train_config is None) != (args.train_output is None):
        raise UsageError("--train_config and --train_output go together")
    if bool(args.text) == (args.arpa is not None):
        raise UsageError("give either TEXT or --arpa")
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
    units = Units(
        token_list=args.token_list,
        token_type=args.token_type,
        bpemodel=args.bpemodel,
        g2p=args.g2p,
        cleaner=args.cleaner,
        non_linguistic_symbols=args.non_linguistic_symbols,
        map_unknown=args.map_unknown,
    )
    labels = labels_of(units)
    if args.arpa is not None:
        ngrams = read_arpa(args.arpa)
    else:
        options = EstimationOptions(args.order, args.smoothing, tuple(args.min_counts))
        ngrams, labels = estimate_lm(args.text, units, options)
    lm = LabelLM(ngrams, units.tokens(), args.arpa or "of this text")
    if args.output is not None:
        write_arpa(args.output, ngrams)
    if args.train_output is not None:
        write_training_config(ngrams, args.train_config, args.train_output)
    lines = [describe(lm, labels)]
    data = {
        "ngrams": Counter(map(len, lm.ngrams)),
        "states": len(lm.states),
        "missing_labels": [label for label in labels if label not in lm.labels],
    }
    if args.heldout is not None:
        data["perplexity"], words = perplexity(lm, args.heldout, units)
        lines.append(words)
    show(args, "\n".join(lines), data)
