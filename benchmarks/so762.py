"""Prepares speechocean762 for the laboratory: one letter for each phone.

    python benchmarks/so762.py SO762 DATA [--adults]

SO762 has ``train``, ``dev`` and ``test`` in Kaldi's form, ``spk2age`` and
``lexicon.txt``. DATA gets the same with phones (without stress) instead of words, each
written as one letter, so that character error rates are phone error rates.
"""

from __future__ import annotations

import argparse
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from espnet_stnas.files import read_kaldi_text


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Write the directories."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="The corpus")
    parser.add_argument("data", type=Path, help="Directory to write")
    parser.add_argument("--adults", action="store_true", help="Leave children out")
    args = parser.parse_args(cmd)
    lexicon: dict[str, list[str]] = {}
    for line in (args.source / "lexicon.txt").read_text().splitlines():
        word, *phones = line.split()
        # The first pronunciation of a word counts.
        lexicon.setdefault(word, [phone.rstrip("012") for phone in phones])
    known = sorted({phone for phones in lexicon.values() for phone in phones})
    letters = dict(zip(known, string.ascii_letters, strict=False))
    ages = read_kaldi_text(args.source / "spk2age", "list of ages")
    for part in ("train", "dev", "test"):
        folder = args.data / part
        folder.mkdir(parents=True, exist_ok=True)
        speakers = read_kaldi_text(args.source / part / "utt2spk", "list of speakers")
        texts = read_kaldi_text(args.source / part / "text", "text")
        audio = read_kaldi_text(args.source / part / "wav.scp", "list of audio")
        names = [
            name for name in texts if not args.adults or int(ages[speakers[name]]) >= 18
        ]
        lines = {
            "text": lambda name, texts=texts: "".join(
                letters[p] for w in texts[name].split() for p in lexicon[w]
            ),
            "wav.scp": lambda name, audio=audio: str(args.source / audio[name]),
        }
        for file, value in lines.items():
            rows = [f"{name} {value(name)}\n" for name in names]
            (folder / file).write_text("".join(rows))
        print(f"{part}: {len(names)} utterances")


if __name__ == "__main__":
    main()
