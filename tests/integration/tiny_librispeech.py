"""A corpus in the layout of LibriSpeech, from connected digits.

python egs2/digits/asr_stnas1/local/make_digits.py --data digits --sample_rate 16000 ...
python tests/integration/tiny_librispeech.py --digits digits --output CORPORA
cd egs2/librispeech_100/asr_stnas1 && LIBRISPEECH=CORPORA ./run.sh ...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import soundfile

from espnet_stnas.files import read_kaldi_text, write_text

# Each part of the digits' corpus, and the parts of LibriSpeech that its halves become.
PARTS = {
    "train": ["train-clean-100"],
    "dev": ["dev-clean", "dev-other"],
    "test": ["test-clean", "test-other"],
}


def convert(source: Path, corpus: Path, names: list[str], first: int) -> list[str]:
    """Write parts of the corpus, a chapter for each speaker.

    Args:
        source: Directory in Kaldi's form.
        corpus: Directory of the corpus.
        names: Its parts; utterances take turns.
        first: Number of the first reader.

    Returns:
        The readers' lines of SPEAKERS.TXT.
    """
    texts = read_kaldi_text(source / "text", "text")
    audio = read_kaldi_text(source / "wav.scp", "list of audio")
    speakers = read_kaldi_text(source / "utt2spk", "list of speakers")
    numbers = {s: first + n for n, s in enumerate(sorted(set(speakers.values())))}
    for turn, part in enumerate(names):
        lines: dict[int, list[str]] = {}
        for key in sorted(texts)[turn :: len(names)]:
            reader = numbers[speakers[key]]
            chapter = corpus / part / str(reader) / "1"
            chapter.mkdir(parents=True, exist_ok=True)
            rows = lines.setdefault(reader, [])
            name = f"{reader}-1-{len(rows):04d}"
            samples, rate = soundfile.read(audio[key])
            soundfile.write(chapter / f"{name}.flac", samples, rate)
            rows.append(f"{name} {texts[key].upper()}\n")
        for reader, rows in lines.items():
            name = f"{reader}-1.trans.txt"
            write_text(corpus / part / str(reader) / "1" / name, "".join(rows))
    return [f"{n} | F | {names[0]} | 1.0 | Nobody\n" for n in numbers.values()]


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", type=Path, required=True, help="of make_digits")
    parser.add_argument("--output", type=Path, required=True, help="LIBRISPEECH")
    args = parser.parse_args(cmd)
    corpus = args.output / "LibriSpeech"
    readers: list[str] = []
    for number, (part, names) in enumerate(PARTS.items()):
        readers += convert(args.digits / part, corpus, names, 1000 * (number + 1))
    write_text(corpus / "SPEAKERS.TXT", "".join(readers))
    # By this file, ESPnet's data preparation sees that nothing is to be downloaded.
    write_text(corpus / "LICENSE.TXT", "Connected digits, not LibriSpeech.\n")


if __name__ == "__main__":
    main()
