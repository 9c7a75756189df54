"""Data directories named and laid out like those of WSJ and Switchboard, from digits.

    python egs2/digits/asr_stnas1/local/make_digits.py --corpus fsdd --data digits ...
    python tests/integration/stand_in.py --recipe wsj --digits digits --output data

They are what ESPnet's local/data.sh leaves behind, so that all later stages of a recipe
can be tried without the licensed corpora; with a lexicon and a word LM for phones.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import soundfile

SETS = {
    "wsj": {"train": ["train_si284"], "dev": ["test_dev93"], "test": ["test_eval92"]},
    "swbd": {"train": ["train_nodup"], "dev": ["train_dev"], "test": ["eval2000"]},
}
PHONES = {
    "zero": "Z IH R OW",
    "one": "W AH N",
    "two": "T UW",
    "three": "TH R IY",
    "four": "F AO R",
    "five": "F AY V",
    "six": "S IH K S",
    "seven": "S EH V AH N",
    "eight": "EY T",
    "nine": "N AY N",
}
GLM = """;; How words are mapped before scoring
* name 'stand_in.glm'
* desc 'Rules for spoken digits'
* format = 'NIST1'
* max_nrules = '10'
* copy_no_hit = 'T'
* case_sensitive = 'F'
;;
[OH] => [ZERO] / [ ] __ [ ]
"""
# What sclite wants to know of the labels <O,en,F,en-F>.
STM_LABELS = """;; CATEGORY "0" "" ""
;; LABEL "O" "Overall" "Overall"
;; CATEGORY "1" "Corpus" ""
;; LABEL "en" "CallHome" "CallHome"
;; LABEL "sw" "Switchboard" "Switchboard"
;; CATEGORY "2" "Speaker" ""
;; LABEL "F" "Female" "Female"
;; CATEGORY "3" "Corpus and speaker" ""
;; LABEL "en-F" "CallHome female" "CallHome female"
;; LABEL "sw-F" "Switchboard female" "Switchboard female"
"""


def read_table(path: Path) -> dict[str, str]:
    """Lines of a Kaldi file by their first word."""
    pairs = (line.split(maxsplit=1) for line in path.read_text().splitlines())
    return {key: value for key, value in pairs}


def write_table(path: Path, table: dict[str, str]) -> None:
    """Write a Kaldi file, sorted as LC_ALL=C does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} {table[key]}\n" for key in sorted(table)))


def convert(source: Path, target: Path, recipe: str) -> None:
    """Make one data directory out of one of digits."""
    texts, wavs = read_table(source / "text"), read_table(source / "wav.scp")
    speakers = read_table(source / "utt2spk")
    sides = {speaker: n for n, speaker in enumerate(sorted(set(speakers.values())))}
    clock = dict.fromkeys(sides, 0)
    files: dict[str, dict[str, str]] = {n: {} for n in ("text", "wav.scp", "utt2spk")}
    spk2utt: dict[str, list[str]] = {}
    stm: list[tuple[str, int, str]] = []
    for utterance in sorted(texts):
        speaker, words = speakers[utterance], texts[utterance]
        info = soundfile.info(wavs[utterance])
        if recipe == "wsj":
            name, new_speaker, words = utterance, speaker, words.upper()
        else:
            # Half of the speakers are Switchboard's, half CallHome's.
            corpus = "sw" if sides[speaker] % 2 == 0 else "en"
            conversation = f"{corpus}_{4000 + sides[speaker]}"
            start = clock[speaker]
            end = start + round(100 * info.duration)  # hundredths of a second
            clock[speaker] = end + 50
            new_speaker = f"{conversation}-A"
            name = f"{new_speaker}_{start:06d}-{end:06d}"
            label = "O,en,F,en-F" if corpus == "en" else "O,sw,F,sw-F"
            times = f"{start / 100:.2f} {end / 100:.2f}"
            line = (
                f"{conversation} A {conversation}_A {times} <{label}> {words.upper()}"
            )
            stm.append((conversation, start, line))
        files["text"][name] = words
        # 16 kHz, as the corpora's recipes have it, by a pipe as theirs.
        pipe = f"sox -R {wavs[utterance]} -t wav - rate 16000 dither |"
        files["wav.scp"][name] = pipe
        files["utt2spk"][name] = new_speaker
        spk2utt.setdefault(new_speaker, []).append(name)
    for name, table in files.items():
        write_table(target / name, table)
    write_table(target / "spk2utt", {s: " ".join(u) for s, u in spk2utt.items()})
    if recipe == "swbd":
        lines = [STM_LABELS, *(f"{line}\n" for _, _, line in sorted(stm))]
        (target / "stm").write_text("".join(lines))
        (target / "glm").write_text(GLM)


def write_lexicon(folder: Path, upper: bool) -> None:
    """Write a lexicon, and a word 2-gram LM in which all words are equally likely."""
    words = {word.upper() if upper else word: p for word, p in PHONES.items()}
    lines = "".join(f"{word} {phones}\n" for word, phones in words.items())
    (folder / "lexicon.txt").write_text(lines)
    follow = [*words, "</s>"]
    score = f"{-math.log10(len(follow)):.4f}"
    one = ["-99\t<s>\t0", *(f"{score}\t{word}\t0" for word in [*follow, "<unk>"])]
    two = [f"{score}\t{first} {last}" for first in ["<s>", *words] for last in follow]
    parts = ["\\data\\", f"ngram 1={len(one)}", f"ngram 2={len(two)}"]
    parts += ["", "\\1-grams:", *one, "", "\\2-grams:", *two, "", "\\end\\", ""]
    (folder / "word_lm.arpa").write_text("\n".join(parts))


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=sorted(SETS), required=True)
    parser.add_argument("--digits", type=Path, required=True, help="of make_digits")
    parser.add_argument(
        "--output", type=Path, required=True, help="data/ of the recipe"
    )
    args = parser.parse_args(arguments)
    for part, names in SETS[args.recipe].items():
        for name in names:
            convert(args.digits.resolve() / part, args.output / name, args.recipe)
    write_lexicon(args.output, upper=args.recipe == "wsj")
    if args.recipe == "wsj":
        # For the language model, and the symbols that are no words.
        train = read_table(args.output / "train_si284" / "text")
        other = {f"lm_{n:06d}": words for n, words in enumerate(train.values())}
        write_table(args.output / "local" / "other_text" / "text", other)
        (args.output / "nlsyms.txt").write_text("<NOISE>\n")


if __name__ == "__main__":
    main()
