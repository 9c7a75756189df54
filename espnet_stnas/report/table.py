"""A table of trained encoders: errors, size, training time, speed."""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import torch
from espnet2.tasks.asr import ASRTask

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_yaml_mapping
from espnet_stnas.host.trained import load_model
from espnet_stnas.messages import quote
from espnet_stnas.results.error_rates import rate_of


@dataclass(frozen=True)
class Result:
    """One trained encoder.

    Args:
        name: Name of the experiment.
        parameters: Parameters of the whole model.
        wer: Word error rate, percent.
        cer: Character error rate, percent.
        train_seconds: Wall time of training, start-up of the process included.
        rtf: Real-time factor: seconds of computing per second of audio.
    """

    name: str
    parameters: int
    wer: float
    cer: float
    train_seconds: float
    rtf: float


def collect(
    experiments: Sequence[PathLike],
    *,
    wavs: Sequence[tuple[torch.Tensor, int]],
    model_file: str,
    score_file: str,
) -> list[Result]:
    """Gather the results of experiments, measuring their speed side by side.

    The real-time factor is that of features, encoder and CTC output on one thread, an
    utterance at a time, without search. Utterance by utterance all models take their
    turn, so that other load on the machine hits all alike.

    Args:
        experiments: Training experiments of ESPnet.
        wavs: Waveforms (samples,) and their sampling rates in Hz.
        model_file: Name of the weights in each experiment.
        score_file: Name of the file that `espnet_stnas.cli.score` wrote.

    Raises:
        ConfigError: If an experiment lacks a file.
    """
    paths = [Path(e) for e in experiments]
    models = [load_model(path / "config.yaml", path / model_file)[0] for path in paths]
    scores = [read_yaml_mapping(path / score_file, "score file") for path in paths]
    factors = _real_time_factors(models, wavs)
    return [
        Result(
            name=path.name,
            parameters=sum(p.numel() for p in model.parameters()),
            wer=rate_of(score, "wer", path / score_file),
            cer=rate_of(score, "cer", path / score_file),
            train_seconds=_train_seconds(path),
            rtf=factor,
        )
        for path, model, score, factor in zip(
            paths, models, scores, factors, strict=True
        )
    ]


def read_wavs(scp: Path, number: int) -> list[tuple[torch.Tensor, int]]:
    """Read the first recordings of a wav.scp.

    Args:
        scp: Lines of an utterance id and the path of a sound file.
        number: How many.

    Returns:
        Waveforms (samples,) and their sampling rates in Hz.

    Raises:
        ConfigError: If there is none, or one cannot be read.
    """
    import soundfile

    if number < 1:
        raise ConfigError(f"utterances is {number}; accepted is an integer from 1 on")
    try:
        lines = scp.read_text(encoding="utf-8").splitlines()[:number]
    except FileNotFoundError:
        raise ConfigError(
            f"{scp} does not exist; accepted is a data directory"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{scp} cannot be read: {error}") from None
    if not lines:
        raise ConfigError(f"{scp} is empty; accepted is at least one utterance")
    wavs = []
    for line in lines:
        fields = line.split(maxsplit=1)
        try:
            samples, rate = soundfile.read(fields[1], dtype="float32")
        except (IndexError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{scp}: {quote(line)} does not lead to a recording ({error}); "
                "accepted are an utterance id and the path of a sound file"
            ) from None
        if samples.ndim != 1 or len(samples) == 0:
            raise ConfigError(
                f"{scp}: {quote(line)} leads to a recording of shape {samples.shape}; "
                "accepted is one channel that is not empty"
            )
        wavs.append((torch.from_numpy(samples), rate))
    return wavs


def _train_seconds(path: Path) -> float:
    """Sum of the runs that the recipe timed; a resumed training has several."""
    file = path / "train_seconds"
    if not file.exists():
        return float("nan")
    try:
        return sum(map(float, file.read_text(encoding="utf-8").split()))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} cannot be read ({error}); accepted is a number of seconds on "
            "each line"
        ) from None


def count_parameters(path: PathLike) -> Optional[int]:
    """The parameters of the whole model of a training of ESPnet's ASR.

    Args:
        path: The training experiment.

    Returns:
        Their number; None if no ASR model can be built from its config.yaml.
    """
    try:
        model, _ = ASRTask.build_model_from_file(
            str(Path(path) / "config.yaml"), None, "cpu"
        )
    except Exception:  # of another task, or with files that are gone
        return None
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def _real_time_factors(
    models: Sequence[Any], wavs: Sequence[tuple[torch.Tensor, int]]
) -> list[float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for model in models:  # the first call of a model is slower
            _seconds(model, wavs[0][0])
        seconds = [0.0] * len(models)
        order = list(range(len(models)))
        shuffler = random.Random(0)
        for wav, _ in wavs:
            # A model leaves its mark in the caches of the next.
            shuffler.shuffle(order)
            for index in order:
                seconds[index] += _seconds(models[index], wav)
    finally:
        torch.set_num_threads(threads)
    audio = sum(len(wav) / rate for wav, rate in wavs)
    return [s / audio for s in seconds]


def _seconds(model: Any, wav: torch.Tensor) -> float:
    """Wall time of features, encoder and CTC output for one utterance (samples,)."""
    start = time.perf_counter()
    output, _ = model.encode(wav.unsqueeze(0), torch.tensor([len(wav)]))
    model.ctc.argmax(output)
    return time.perf_counter() - start


def markdown(results: Sequence[Result]) -> str:
    """The table; experiments named like random1, random2 also as mean and spread."""
    lines = [
        "| encoder | parameters | WER % | CER % | training s | real-time factor |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in results:
        lines.append(
            f"| {r.name} | {r.parameters:,} | {r.wer:.2f} | {r.cer:.2f} "
            f"| {r.train_seconds:.0f} | {r.rtf:.4f} |"
        )
    drawn = [r for r in results if re.fullmatch(r"random\d+", r.name)]
    if len(drawn) > 1:
        lines.append(
            f"| mean ± sd of {len(drawn)} random | | {_spread([r.wer for r in drawn])} "
            f"| {_spread([r.cer for r in drawn])} | | |"
        )
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
