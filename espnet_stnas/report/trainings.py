"""Reads facts about trained encoders: names, error rates, architecture. No torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_yaml_mapping
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.error_rates import rate_of

# The line of totals in sclite's table (result.txt of ESPnet's asr.sh): sentences,
# words | correct, substitutions, deletions, insertions, errors, sentences with errors.
_SCLITE = re.compile(
    r"\|\s*Sum/Avg\s*\|\s*(\d+)\s+(\d+)\s*\|"
    r"\s*[\d.]+\s+[\d.]+\s+[\d.]+\s+[\d.]+\s+([\d.]+)\s+([\d.]+)\s*\|"
)


@dataclass(frozen=True)
class TestResult:
    """Error rates on one test set, in percent.

    Args:
        test: The directory of the decoding, relative to the training.
        wer: Word error rate, if known.
        cer: Character error rate, if known.
    """

    test: str
    wer: Optional[float] = None
    cer: Optional[float] = None


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model.

    Args:
        encoder: Parameters of the encoder alone.
        model: Parameters of the whole model.
        input_size: Dimensions of an input frame of the encoder.
    """

    encoder: int
    model: int
    input_size: int


@dataclass(frozen=True)
class Training:
    """A training experiment of ESPnet.

    Args:
        path: Its directory.
        name: Its name in tables.
        encoder: Name of its encoder.
        scores: Error rates, one entry per test set; empty if nothing was scored.
        sizes: Sizes of its model, if known.
        space: The architecture of its encoder, if the encoder is ours and can be read.
        seconds: Wall time of training including start-up, if known.
        rtf: Real-time factor: seconds of computing per second of audio, if measured.
    """

    path: Path
    name: str
    encoder: str
    scores: tuple[TestResult, ...]
    sizes: Optional[Sizes] = None
    space: Optional[SearchSpace] = None
    seconds: Optional[float] = None
    rtf: Optional[float] = None


def short_names(paths: Sequence[PathLike]) -> list[str]:
    """Return short names of directories: as many last parts as make them differ."""
    parts = [Path(os.path.abspath(path)).parts for path in paths]
    most = max(map(len, parts), default=1)
    names = ["/".join(p[-1:]) for p in parts]
    for length in range(2, most + 1):
        twice = {name for name in names if names.count(name) > 1}
        names = [
            "/".join(p[-length:]) if name in twice else name
            for name, p in zip(names, parts, strict=True)
        ]
    return names


def open_training(
    path: PathLike, sizes: Optional[Sizes] = None, name: Optional[str] = None
) -> Training:
    """Read a training experiment.

    Args:
        path: Its directory.
        sizes: Sizes of its model, if known.
        name: Its name in tables; default: the name of the directory.

    Raises:
        ConfigError: If it is no experiment, or a file of it is damaged.
    """
    path = Path(path)
    config = read_yaml_mapping(path / "config.yaml", "training config")
    return Training(
        path=path,
        name=name or path.name,
        encoder=str(config.get("encoder", "default")),
        scores=tuple(sorted(_scores(path), key=lambda score: score.test)),
        sizes=sizes,
        space=_space(config),
        seconds=_seconds(path),
    )


def _seconds(path: Path) -> Optional[float]:
    """Add up the runs that the recipe timed; a resumed training has several."""
    file = path / "train_seconds"
    if not file.exists():
        return None
    try:
        return sum(map(float, file.read_text(encoding="utf-8").split()))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} cannot be read ({error}); accepted is a number of seconds on "
            "each line"
        ) from None


def _space(config: Mapping[str, Any]) -> Optional[SearchSpace]:
    if config.get("encoder") != "stnas":
        return None
    try:
        return SearchSpace.from_conf(config.get("encoder_conf") or {})
    except ConfigError:  # a file is missing; the error rates are known nevertheless
        return None


def _scores(path: Path) -> Iterator[TestResult]:
    for file in path.glob("**/score.yaml"):
        values = read_yaml_mapping(file, "score file")
        known = [k for k in ("wer", "cer") if values.get(k) is not None]
        rates = {k: rate_of(values, k, file) for k in known}
        yield TestResult(str(file.parent.relative_to(path)), **rates)
    places = {file.parent.parent for file in path.glob("**/score_*er/result.txt")}
    for place in places:
        found = {
            k: _sclite(place / f"score_{k}" / "result.txt") for k in ("wer", "cer")
        }
        if any(rate is not None for rate in found.values()):
            yield TestResult(str(place.relative_to(path)), **found)


def _sclite(file: Path) -> Optional[float]:
    """Return the error rate in a result.txt; None if missing or not finished."""
    try:
        match = _SCLITE.search(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return float(match[3]) if match else None
