"""Loads the models of ESPnet's ASR trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from espnet2.tasks.asr import ASRTask

import espnet_stnas  # noqa: F401  (registers encoder and model)
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, check_sums, read_yaml_mapping
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.messages import one_line, quote

# The default weights: the first of these files that exists.
WEIGHTS = tuple(
    f"valid.{key}.{kind}.pth" for kind in ("ave", "best") for key in ("loss", "acc")
)


def weights_file(experiment: PathLike, name: Optional[str] = None) -> Path:
    """Return the path of a training's weights.

    Args:
        experiment: Directory of the training.
        name: File in it; None for the first of ``WEIGHTS`` that exists.

    Raises:
        ConfigError: If there is no such directory, or none of these files.
    """
    if not Path(experiment).is_dir():
        raise ConfigError(
            f"{experiment} is no directory; accepted is the output_dir of a training"
        )
    if name is not None:
        return Path(experiment) / name
    for found in (Path(experiment) / name for name in WEIGHTS):
        if found.is_file():
            return found
    raise ConfigError(
        f"{experiment} has none of the weights {', '.join(WEIGHTS)}; is the training "
        "complete? Others are named by --model_file"
    )


def encoder_input_size(model: Any, train_args: Any) -> int:
    """Return the dimensions of an input frame of a model's encoder.

    Args:
        model: A model of ESPnet's ASR.
        train_args: Options of its training.
    """
    for name in ("preencoder", "frontend"):
        part = getattr(model, name, None)
        if part is not None:
            return int(part.output_size())
    return int(train_args.input_size)


def load_model(
    train_config: PathLike, model_file: PathLike, device: str = "cpu"
) -> tuple[Any, Any]:
    """Build the model of a training with its weights, in evaluation mode.

    Args:
        train_config: config.yaml of the training.
        model_file: Weights of the training.
        device: Device of the model: ``cpu`` or ``cuda``.

    Returns:
        The model, and the options of the training.

    Raises:
        ConfigError: If a file is missing or damaged.
    """
    for path in (train_config, model_file):
        if not Path(path).is_file():
            raise ConfigError(f"{path} does not exist; is the training complete?")
    read_yaml_mapping(train_config, "training config")
    check_sums(model_file)
    try:
        model, train_args = ASRTask.build_model_from_file(
            str(train_config), str(model_file), device
        )
    except Exception as error:  # ESPnet and torch raise many kinds of errors
        raise ConfigError(
            f"no ASR model can be built from {train_config} and {model_file} "
            f"({type(error).__name__}: {one_line(error)[:500]})"
        ) from error
    return model.eval(), train_args


def trained_model(experiment: PathLike, weights: PathLike) -> tuple[Any, Any]:
    """Return the model of a training with our encoder, in evaluation mode.

    Args:
        experiment: Directory of the training.
        weights: File of its weights.

    Returns:
        The model, and the options of the training.

    Raises:
        ConfigError: If a file is missing or damaged, or the encoder is not ours.
    """
    config = Path(experiment) / "config.yaml"
    model, train_args = load_model(config, weights)
    if not isinstance(model.encoder, STNASEncoder):
        raise ConfigError(
            f"{config} has the encoder {quote(train_args.encoder)}; accepted is 'stnas'"
        )
    return model, train_args
