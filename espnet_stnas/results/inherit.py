"""The weights that a derived encoder inherits from the supernet of its search."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, writing
from espnet_stnas.network.weights import Weights, inherited, read_weights
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.experiment import SearchExperiment


def write_inherited(
    experiment: SearchExperiment, architecture: Architecture, path: PathLike
) -> None:
    """Write the weights of an architecture, and those of the rest of the model.

    They are those of the epoch that the architecture comes from, never averaged ones:
    averages mix the weights of different epochs, and of paths not trained together.

    Args:
        experiment: The search.
        architecture: One of its epochs.
        path: File to write, for ESPnet's ``--init_param``.

    Raises:
        ConfigError: If the search has no weights of that epoch, or they are those of
            another search.
    """
    epoch = architecture.provenance.epoch
    source, weights = _weights_of(experiment, epoch)
    chosen = inherited(weights, experiment.space, architecture.space, source)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(chosen, temporary)
        temporary.replace(path)


def _weights_of(
    experiment: SearchExperiment, epoch: Optional[int]
) -> tuple[Path, Weights]:
    own = experiment.path / f"{epoch}epoch.pth"
    if own.exists():
        return own, read_weights(own)
    checkpoint = experiment.path / "checkpoint.pth"
    # It is written at the end of the last epoch.
    if epoch == experiment.epochs[-1] and checkpoint.exists():
        return checkpoint, read_weights(checkpoint)
    raise ConfigError(
        f"{experiment.path} has no weights of epoch {epoch}: neither {own.name} nor, "
        "for the last epoch, checkpoint.pth; accepted are epochs whose weights ESPnet "
        "kept (keep_nbest_models)"
    )
