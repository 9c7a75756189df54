"""Turn words into units, such as phones, by a lexicon: for trainings with such units.

Words with several pronunciations get the first one.
"""

from __future__ import annotations

import argparse

from espnet_stnas.cli.parser import UsageError
from espnet_stnas.ctc_crf.lexicon import (
    apply_lexicon,
    is_unit,
    read_lexicon,
    token_list,
)
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import write_text
from espnet_stnas.messages import quote


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "lexicon",
        metavar="LEXICON",
        nargs="+",
        help="Words and their units, as Kaldi's lexicon.txt or as CMUdict",
    )
    parser.add_argument(
        "--strip_stress",
        action="store_true",
        help="Take the stress off the units: AH0 becomes AH",
    )
    parser.add_argument(
        "--unk",
        help="Unit for words that are not in the lexicon, such as spn or <unk> "
        "(default: refuse them)",
    )
    parser.add_argument("--text", help="Kaldi text file of words")
    parser.add_argument("--output", help="Kaldi text file of units to write")
    parser.add_argument(
        "--token_list",
        help="Token list to write: <blank>, <unk>, all units of the lexicon, <sos/eos>",
    )


def run(args: argparse.Namespace) -> None:
    """Write the files, and print a summary."""
    if (args.text is None) != (args.output is None):
        raise UsageError("--text and --output go together")
    if not (args.output or args.token_list):
        raise UsageError("nothing to write: give --output, --token_list or both")
    if args.unk is not None and not is_unit(args.unk):
        raise ConfigError(
            f"unk is {quote(args.unk)}; accepted is the name of a unit, such as spn"
        )
    lexicon = read_lexicon(args.lexicon, args.strip_stress)
    words, units = len(lexicon.pronunciations), lexicon.units()
    print(f"lexicon: {words} words, {len(units)} units")
    if args.text is not None:
        lines, unknown = apply_lexicon(lexicon, args.text, args.unk)
        write_text(args.output, "".join(f"{line}\n" for line in lines))
        if unknown:
            print(f"text: {unknown} different words became {args.unk}")
        print(f"text: {len(lines)} utterances")
    if args.token_list is not None:
        units += [] if args.unk is None else [args.unk]
        write_text(args.token_list, "\n".join(token_list(units)) + "\n")
