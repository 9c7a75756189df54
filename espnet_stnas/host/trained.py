"""Models of ESPnet's ASR trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espnet2.tasks.asr import ASRTask

import espnet_stnas  # noqa: F401  (registers encoder and model)
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_yaml_mapping
from espnet_stnas.messages import one_line


def load_model(
    train_config: PathLike, model_file: PathLike, device: str = "cpu"
) -> tuple[Any, Any]:
    """Build the model of a training, with its weights, for evaluation.

    Args:
        train_config: config.yaml of the training.
        model_file: Weights of the training.
        device: Where to put the model: ``cpu`` or ``cuda``.

    Returns:
        The model, and the options of the training.

    Raises:
        ConfigError: If a file is missing or damaged.
    """
    for path in (train_config, model_file):
        if not Path(path).is_file():
            raise ConfigError(f"{path} does not exist; is the training complete?")
    read_yaml_mapping(train_config, "training config")
    try:
        model, train_args = ASRTask.build_model_from_file(
            str(train_config), str(model_file), device
        )
    except Exception as error:  # whatever ESPnet and torch make of damaged files
        raise ConfigError(
            f"no ASR model can be built from {train_config} and {model_file} "
            f"({type(error).__name__}: {one_line(error)[:500]})"
        ) from error
    return model.eval(), train_args
