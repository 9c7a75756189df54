"""The utterances to decode, and where ESPnet finds their speech. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_kaldi_text
from espnet_stnas.messages import quote

# File, name in the batch, and ESPnet's data type.
Source = tuple[str, str, str]

NAME = "speech"


@dataclass(frozen=True)
class Utterances:
    """A data set, or a part of it.

    Args:
        sources: File, name and type of the speech, as ESPnet reads it.
        ids: Ids of the utterances, in order.
        key_file: File whose first column has the ids; None for all utterances.
    """

    sources: tuple[Source, ...]
    ids: tuple[str, ...]
    key_file: Optional[str]


def find_utterances(
    data_dir: Optional[PathLike],
    sources: Sequence[Source],
    key_file: Optional[PathLike] = None,
    allow_pipes: bool = False,
) -> Utterances:
    """Look for the utterances of a data set.

    Args:
        data_dir: Kaldi data directory; None if ``sources`` are given.
        sources: The ``data_path_and_name_and_type`` of ESPnet's asr_inference.
        key_file: File whose first column names the utterances to decode.
        allow_pipes: Whether entries may be commands for the shell, as Kaldi has them.

    Raises:
        ConfigError: If a file is missing, there is no utterance, the key file has
            others than the data set, or an entry is a command that is not allowed.
    """
    if data_dir is not None:
        sources = (_speech_of(Path(data_dir)),)
    if [name for _, name, _ in sources] != [NAME]:
        raise ConfigError(
            f"data_path_and_name_and_type names "
            f"{quote([name for _, name, _ in sources])}; accepted is one that is named "
            f"{NAME}, such as dump/raw/test/wav.scp,{NAME},sound"
        )
    path = sources[0][0]
    speech = read_kaldi_text(path, "speech")
    if not allow_pipes:
        _refuse_pipes(path, speech)
    ids = tuple(speech)
    if key_file is None:
        return Utterances(tuple(sources), ids, None)
    keys = tuple(read_kaldi_text(key_file, "key file"))
    place = {name: number for number, name in enumerate(ids)}
    missing = [key for key in keys if key not in place]
    if missing:
        raise ConfigError(
            f"key file {key_file} has {len(missing)} utterances that are not in "
            f"{path}, such as {quote(missing[0])}"
        )
    if sorted(keys, key=lambda key: place[key]) != list(keys):
        raise ConfigError(
            f"key file {key_file} has its utterances in another order than {path}; "
            "accepted is the same"
        )
    return Utterances(tuple(sources), keys, str(key_file))


def _refuse_pipes(path: str, speech: Mapping[str, str]) -> None:
    """Refuse commands, which the readers of Kaldi's archives would run."""
    for name, value in speech.items():
        if "|" in value:
            raise ConfigError(
                f"speech {path}: the entry of utterance {quote(name)} is a command for "
                f"the shell ({quote(value)}); accepted are names of files, or commands "
                "that you trust with --allow_pipes"
            )


def _speech_of(data_dir: Path) -> Source:
    if not data_dir.is_dir():
        raise ConfigError(f"data_dir {data_dir} is not a directory")
    if (data_dir / "segments").exists():
        raise ConfigError(
            f"data_dir {data_dir} has segments, which are not cut out here; accepted "
            "are directories that ESPnet's recipes have formatted, such as "
            "dump/raw/test"
        )
    wavs, features = data_dir / "wav.scp", data_dir / "feats.scp"
    if wavs.exists():
        return speech_source(wavs)
    if features.exists():
        return str(features), NAME, "kaldi_ark"
    raise ConfigError(f"data_dir {data_dir} has neither wav.scp nor feats.scp")


def speech_source(wav_scp: PathLike) -> Source:
    """Return a wav.scp as ESPnet reads it: single files, or archives of Kaldi."""
    with open(wav_scp, encoding="utf-8", errors="replace") as file:
        first = file.readline().strip()
    archived = re.search(r"\.ark:\d+$", first)
    return str(wav_scp), NAME, "kaldi_ark" if archived else "sound"
