"""Measures trained models: their sizes and their speed."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import torch
from espnet2.tasks.asr import ASRTask

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike
from espnet_stnas.host.trained import encoder_input_size, load_model, weights_file
from espnet_stnas.messages import quote
from espnet_stnas.report.trainings import Sizes


def model_sizes(path: PathLike) -> Optional[Sizes]:
    """Return the sizes of the model of an ESPnet ASR training.

    Args:
        path: The training experiment.

    Returns:
        The sizes; None if no ASR model can be built from its config.yaml.
    """
    try:
        model, args = ASRTask.build_model_from_file(
            str(Path(path) / "config.yaml"), None, "cpu"
        )
        size = encoder_input_size(model, args)
    except Exception:  # a training of another task, or missing files
        return None
    encoder, whole = (
        sum(p.numel() for p in module.parameters()) for module in (model.encoder, model)
    )
    return Sizes(encoder, whole, size)


def real_time_factors(
    experiments: Sequence[PathLike],
    wavs: Sequence[tuple[torch.Tensor, int]],
    model_file: Optional[str] = None,
) -> list[float]:
    """Measure the speed of trained models side by side.

    The real-time factor covers features, encoder and CTC output on one thread, one
    utterance at a time, without search. All models take turns at each utterance, so
    that other load on the machine affects all of them equally.

    Args:
        experiments: Training experiments of ESPnet.
        wavs: Waveforms (samples,) and their sampling rates in Hz.
        model_file: Name of the weights in each experiment; None: the usual ones.

    Raises:
        ConfigError: If an experiment lacks a file.
    """
    models = [
        load_model(Path(e) / "config.yaml", weights_file(e, model_file))[0]
        for e in experiments
    ]
    return _real_time_factors(models, wavs)


def read_wavs(scp: Path, number: int) -> list[tuple[torch.Tensor, int]]:
    """Read the first recordings of a wav.scp.

    Args:
        scp: File with an utterance id and the path of a sound file on each line.
        number: Number of recordings.

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
            # Each model leaves its data in the caches, which slows down the next.
            shuffler.shuffle(order)
            for index in order:
                seconds[index] += _seconds(models[index], wav)
    finally:
        torch.set_num_threads(threads)
    audio = sum(len(wav) / rate for wav, rate in wavs)
    return [s / audio for s in seconds]


def _seconds(model: Any, wav: torch.Tensor) -> float:
    """Measure features, encoder and CTC output for one utterance (samples,)."""
    start = time.perf_counter()
    output, _ = model.encode(wav.unsqueeze(0), torch.tensor([len(wav)]))
    model.ctc.argmax(output)
    return time.perf_counter() - start
