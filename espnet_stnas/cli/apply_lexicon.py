"""Turn words into units, such as phones, by a lexicon: for trainings with such units.

Words with several pronunciations get the first one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Optional

from espnet_stnas.ctc_crf.lexicon import Lexicon, is_unit, read_lexicon, token_list
from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.files import read_kaldi_text, write_text
from espnet_stnas.messages import quote

_MOST_EXAMPLES = 5


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--lexicon",
        nargs="+",
        required=True,
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
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    if (args.text is None) != (args.output is None):
        parser.error("--text and --output go together")
    if not (args.output or args.token_list):
        parser.error("nothing to write: give --output, --token_list or both")
    with plain_errors():
        if args.unk is not None and not is_unit(args.unk):
            raise ConfigError(
                f"unk is {quote(args.unk)}; accepted is the name of a unit, such as spn"
            )
        lexicon = read_lexicon(args.lexicon, args.strip_stress)
        words, units = len(lexicon.pronunciations), lexicon.units()
        print(f"lexicon: {words} words, {len(units)} units")
        if args.text is not None:
            lines = apply(lexicon, args.text, args.unk)
            write_text(args.output, "".join(f"{line}\n" for line in lines))
            print(f"text: {len(lines)} utterances")
        if args.token_list is not None:
            units += [] if args.unk is None else [args.unk]
            write_text(args.token_list, "\n".join(token_list(units)) + "\n")


def apply(lexicon: Lexicon, path: str, unk: Optional[str] = None) -> list[str]:
    """Put the units of words in their place.

    Args:
        lexicon: The pronunciations.
        path: Kaldi text file of words.
        unk: Unit for words without a pronunciation; None to refuse them.

    Returns:
        Lines of an utterance id and units.

    Raises:
        ConfigError: If the file cannot be read, has an utterance twice, or has words
            that must be refused.
    """
    found: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for name, words in read_kaldi_text(path, "text").items():
        units: list[str] = []
        for word in words.split():
            if word in lexicon.pronunciations:
                units += lexicon.pronunciations[word][0]
            else:
                unknown.setdefault(word, name)
                units += [unk] if unk is not None else []
        found[name] = " ".join([name, *units])
    if unknown and unk is None:
        examples = [
            f"{quote(word)} (utterance {quote(name)})"
            for word, name in list(unknown.items())[:_MOST_EXAMPLES]
        ]
        if len(unknown) > _MOST_EXAMPLES:
            examples.append("...")
        raise ConfigError(
            f"text {path} has {len(unknown)} words that are not in lexicon "
            f"{lexicon.name}: {', '.join(examples)}; add them to it, or give a unit "
            "for them with --unk"
        )
    if unknown:
        print(f"text: {len(unknown)} different words became {unk}")
    return list(found.values())


if __name__ == "__main__":
    main()
