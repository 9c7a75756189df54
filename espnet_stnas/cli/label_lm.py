"""Make a label LM for CTC-CRF from the training text, or read one, and check it."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Callable, Optional

from espnet_stnas.ctc_crf.arpa import Entry, Ngram, inline_arpa, read_arpa, write_arpa
from espnet_stnas.ctc_crf.estimate import SMOOTHINGS, EstimationOptions, estimate
from espnet_stnas.ctc_crf.lm import NO_LABELS, LabelLM
from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.files import (
    dump_yaml,
    read_kaldi_text,
    read_text,
    read_yaml_mapping,
    write_text,
)
from espnet_stnas.messages import one_line, quote

UNKNOWN = "<unk>"


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--token_list", required=True, help="That of the training")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--text", nargs="+", help="Kaldi text file(s) of the training set"
    )
    source.add_argument("--arpa", help="Instead: a model made by another tool")
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
        "--token_type", default="char", choices=("char", "bpe", "word", "phn")
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
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
    if (args.train_config is None) != (args.train_output is None):
        parser.error("--train_config and --train_output go together")
    with plain_errors():
        tokens = _tokens(args.token_list)
        labels = [t for t in tokens if t not in (*NO_LABELS, UNKNOWN)]
        if args.arpa is not None:
            ngrams = read_arpa(args.arpa)
        else:
            ngrams, labels = _estimate(args, tokens, labels)
        lm = LabelLM(ngrams, tokens, args.arpa or "of this text")
        if args.output is not None:
            write_arpa(args.output, ngrams)
        if args.train_output is not None:
            _write_training_config(args, ngrams)
        print(describe(lm, labels))
        if args.heldout is not None:
            print(_perplexity(lm, args, tokens))


def describe(lm: LabelLM, labels: Sequence[str]) -> str:
    """Sizes of a model, and the labels that it lacks.

    Args:
        lm: The model.
        labels: The labels it should have.
    """
    orders = Counter(map(len, lm.ngrams))
    sizes = ", ".join(f"{orders[n]} {n}-grams" for n in sorted(orders))
    text = f"label LM: {sizes}; {len(lm.states)} states"
    missing = [label for label in labels if label not in lm.labels]
    if missing:
        text += (
            f"\nwarning: {len(missing)} labels of the token list have probability 0, "
            f"such as {quote(missing[0])}"
        )
    return text


def _estimate(
    args: argparse.Namespace, tokens: Sequence[str], labels: list[str]
) -> tuple[dict[Ngram, Entry], list[str]]:
    options = EstimationOptions(args.order, args.smoothing, tuple(args.min_counts))
    sentences = [s for path in args.text for s in _sentences(path, args, tokens)]
    if any(UNKNOWN in sentence for sentence in sentences):
        labels = [*labels, UNKNOWN]
    return estimate(sentences, labels, options), labels


def _perplexity(lm: LabelLM, args: argparse.Namespace, tokens: Sequence[str]) -> str:
    perplexity, number, zero = lm.perplexity(_sentences(args.heldout, args, tokens))
    text = f"perplexity of {one_line(args.heldout)}: "
    text += f"{perplexity:.3f} per label" if perplexity < math.inf else "infinite"
    if zero:
        text += f", without {zero} of {number + zero} lines, which have probability 0"
    return text


def _sentences(
    path: str, args: argparse.Namespace, tokens: Sequence[str]
) -> Iterator[list[str]]:
    """The labels of each line of a Kaldi text file.

    Raises:
        ConfigError: If it is missing, or has a label that is not in the token list.
    """
    tokenize = _tokenizer(args)
    known = {*tokens} - {*NO_LABELS}
    for name, text in read_kaldi_text(path, "text").items():
        found = tokenize(text)
        strange = [token for token in found if token not in known]
        if strange and not (args.map_unknown and UNKNOWN in known):
            raise ConfigError(
                f"text {path}: utterance {quote(name)} has the label "
                f"{quote(strange[0])}, which is not in {args.token_list}; give the "
                f"units of the training (--token_type), or --map_unknown if it has "
                f"{UNKNOWN}"
            )
        yield [token if token in known else UNKNOWN for token in found]


def _tokenizer(args: argparse.Namespace) -> Callable[[str], list[str]]:
    # They take seconds to import; --help and --arpa do not need them.
    from espnet2.text.build_tokenizer import build_tokenizer
    from espnet2.text.cleaner import TextCleaner

    if args.token_type == "bpe" and args.bpemodel is None:
        raise ConfigError("token_type is 'bpe'; give its model with --bpemodel")
    clean = TextCleaner(None if args.cleaner is None else [args.cleaner])
    tokenizer = build_tokenizer(
        args.token_type,
        bpemodel=args.bpemodel,
        non_linguistic_symbols=args.non_linguistic_symbols,
        g2p_type=args.g2p,
    )
    return lambda text: list(tokenizer.text2tokens(clean(text)))


def _tokens(path: str) -> list[str]:
    """The lines of a token list, as ESPnet reads them."""
    text = read_text(path, "token list")
    if not text.strip():
        raise ConfigError(f"token list {path} is empty")
    return [line.rstrip() for line in text.rstrip("\n").split("\n")]


def _write_training_config(
    args: argparse.Namespace, ngrams: dict[Ngram, Entry]
) -> None:
    config = read_yaml_mapping(args.train_config, "training config")
    conf = config.get("model_conf") or {}
    if not isinstance(conf, dict):
        raise ConfigError(
            f"training config {args.train_config}: model_conf is {quote(conf)}; "
            "accepted is a mapping"
        )
    config["model"] = "ctc_crf"
    config["model_conf"] = {**conf, "crf_lm": inline_arpa(ngrams)}
    header = (
        f"# {one_line(args.train_config)} with CTC-CRF and its label LM.\n"
        "# Needs espnet_stnas: python3 -m espnet_stnas.run -m espnet2.bin.asr_train\n"
    )
    write_text(args.train_output, header + dump_yaml(config))


if __name__ == "__main__":
    main()
