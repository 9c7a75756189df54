"""Prepare speechocean762 (OpenSLR 101): data directories in Kaldi's form.

The training half is split by speaker into train, dev and test, such that no sentence is
in two of them and ages and sexes are spread evenly; the corpus's own test half becomes
eval. For each, <name>_phones has phones in the place of words.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import logging
import os
import shutil
import tarfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.files import read_kaldi_text, write_text, writing
from espnet_stnas.messages import one_line

URL = "https://www.openslr.org/resources/101/speechocean762.tar.gz"
# Speakers of the training half that are not for training.
SPEAKERS = {
    "dev": "0001 0070 0575 0960 1042 2380 3423 5408 6048 9604 9606 9619 9639",
    "test": "0054 0813 1027 1092 1197 1407 1447 2179 2244 2402 2621 2981 3023 3083 "
    "5401 5414 6010 6912 7551 9609 9613 9614 9615 9625",
}
SIZES = {"train": 1760, "dev": 260, "test": 480}  # utterances
# SHA-256 of the training half's lines "<speaker>-<utterance> <words>", sorted.
TRANSCRIPTS = "c6a77196f5630f2414748032f507b08e23a9c041af4ba2f121ada5724bfa2e67"


class Utterance(NamedTuple):
    """One utterance of the corpus."""

    speaker: str
    words: str
    audio: Path


def download(folder: Path) -> None:
    """Fetch the corpus (520 MB) into ``folder``, unless it is there.

    Raises:
        ConnectionError: The archive could not be fetched.
        WriteError: The disk is full, or the folder cannot be written to.
    """
    if folder.is_dir():
        return
    partial = folder.with_name(f".{folder.name}.partial.{os.getpid()}")
    logging.info("downloading %s", URL)
    try:
        with writing(folder):
            partial.mkdir(parents=True)
        try:
            with (
                urllib.request.urlopen(URL, timeout=60) as response,
                gzip.GzipFile(fileobj=response) as unzipped,
                tarfile.open(fileobj=unzipped, mode="r|") as archive,
            ):
                archive.extractall(partial, filter="data")
                # OpenSLR publishes no checksum; gzip's own is at the end.
                while unzipped.read(1 << 20):
                    pass
        except (OSError, tarfile.TarError, EOFError) as error:
            raise ConnectionError(
                f"Could not download {URL} ({one_line(error)}); fetch it elsewhere, "
                "unpack it, and export SPEECHOCEAN762=/path/to/speechocean762."
            ) from error
        (partial / "speechocean762").rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_corpus(folder: Path) -> dict[str, dict[str, Utterance]]:
    """The utterances of train, dev, test and, where it is there, eval, by their names.

    Args:
        folder: The corpus as OpenSLR has it, or without its own test half, and with
            any split of the training half.

    Raises:
        ConfigError: It is not the corpus, or not all of it.
    """
    parts = {s: name for name, known in SPEAKERS.items() for s in known.split()}
    found: dict[str, dict[str, Utterance]] = {n: {} for n in (*SIZES, "eval")}
    folders = [folder / name for name in ("train", "dev", "test")]
    if not (folder / "train" / "text").is_file():
        raise ConfigError(
            f"SPEECHOCEAN762 is {str(folder)!r}, which has no train/text; accepted is "
            "the directory that the archive of OpenSLR 101 is unpacked to."
        )
    for source in filter(Path.is_dir, folders):
        texts = read_kaldi_text(source / "text", "text")
        speakers = read_kaldi_text(source / "utt2spk", "list of speakers")
        audio = read_kaldi_text(source / "wav.scp", "list of audio")
        for key, words in texts.items():
            speaker = speakers[key]
            # A split of the training half says so by a dev set.
            official = source.name == "test" and not (folder / "dev").is_dir()
            part = "eval" if official else parts.get(speaker, "train")
            name = key if key.startswith(f"{speaker}-") else f"{speaker}-{key}"
            place = (folder / audio[key]).resolve()
            found[part][name] = Utterance(speaker, words.upper(), place)
    sizes = {name: len(found[name]) for name in SIZES}
    if sizes != SIZES:
        raise ConfigError(
            f"{folder} has {sizes} utterances; those of the corpus are {SIZES}."
        )
    if (digest := checksum(found)) != TRANSCRIPTS:
        logging.warning(
            "%s has other transcripts of the training half (SHA-256 %s...) than those "
            "that this recipe was made with (%s...).",
            *(folder, digest[:12], TRANSCRIPTS[:12]),
        )
    return found


def checksum(parts: dict[str, dict[str, Utterance]]) -> str:
    """SHA-256 of the transcripts of the training half."""
    lines = [f"{name} {u.words}\n" for part in SIZES for name, u in parts[part].items()]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def read_lexicon(path: Path) -> dict[str, str]:
    """The first pronunciation of each word, without stress."""
    lexicon: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones = line.split()
        lexicon.setdefault(word.upper(), " ".join(p.rstrip("012") for p in phones))
    return lexicon


def write_set(folder: Path, utterances: dict[str, Utterance]) -> None:
    """Write a directory in Kaldi's form."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(utterances)
    of_speaker: dict[str, list[str]] = {}
    for name in names:
        of_speaker.setdefault(utterances[name].speaker, []).append(name)
    rows = {
        "text": [f"{n} {utterances[n].words}" for n in names],
        "wav.scp": [f"{n} {utterances[n].audio}" for n in names],
        "utt2spk": [f"{n} {utterances[n].speaker}" for n in names],
        "spk2utt": [f"{s} {' '.join(of_speaker[s])}" for s in sorted(of_speaker)],
    }
    for file, lines in rows.items():
        write_text(folder / file, "".join(f"{line}\n" for line in lines))


def prepare(corpus: Path, data: Path) -> None:
    """Write all sets, with words and with phones, and the lexicon.

    Raises:
        ConfigError: ``corpus`` is not the corpus, or its lexicon lacks words.
        WriteError: The disk is full, or ``data`` cannot be written to.
    """
    parts = read_corpus(corpus)
    places = (corpus / "resource" / "lexicon.txt", corpus / "lexicon.txt")
    source = next((path for path in places if path.is_file()), None)
    if source is None:
        raise ConfigError(f"{corpus} has no resource/lexicon.txt.")
    lexicon = read_lexicon(source)
    words = {
        w for part in parts.values() for u in part.values() for w in u.words.split()
    }
    if unknown := sorted(words - lexicon.keys()):
        raise ConfigError(
            f"{source} lacks {len(unknown)} words, such as {unknown[0]!r}."
        )
    with writing(data):
        (data / "local").mkdir(parents=True, exist_ok=True)
        lines = [f"{word} {phones}\n" for word, phones in sorted(lexicon.items())]
        write_text(data / "local" / "lexicon.txt", "".join(lines))
        for name, part in parts.items():
            if not part:
                continue
            phones = {
                key: u._replace(words=" ".join(lexicon[w] for w in u.words.split()))
                for key, u in part.items()
            }
            write_set(data / name, part)
            write_set(data / f"{name}_phones", phones)
            speakers = len({u.speaker for u in part.values()})
            print(f"{name}: {len(part)} utterances of {speakers} speakers")


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command line ``cmd``, by default that of the process."""
    parser = argparse.ArgumentParser(prog="local/make_data.py", description=__doc__)
    parser.add_argument("corpus", type=Path, help="directory of the corpus")
    parser.add_argument("data", type=Path, help="directory to write")
    parser.add_argument(
        "--download",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="fetch the corpus if its directory is not there",
    )
    args = parser.parse_args(cmd)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        with plain_errors():
            if args.download:
                download(args.corpus)
            prepare(args.corpus, args.data)
    except ConnectionError as error:
        parser.error(one_line(error))


if __name__ == "__main__":
    main()
