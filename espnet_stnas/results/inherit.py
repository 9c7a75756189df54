"""Writes the weights that a derived encoder inherits from its supernet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, write_bytes
from espnet_stnas.network.weights import Weights, inherited, read_weights
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.experiment import SearchExperiment


def write_inherited(
    experiment: SearchExperiment, architecture: Architecture, path: PathLike
) -> None:
    """Write the weights of an architecture and of the rest of the model.

    The weights come from the epoch of the architecture, never from averaged models:
    averages mix weights of different epochs, and of paths that were not trained
    together.

    Args:
        experiment: The search.
        architecture: The architecture of one of its epochs.
        path: File to write, for ESPnet's ``--init_param``.

    Raises:
        ConfigError: If the search has no weights of that epoch, or the weights belong
            to another search.
    """
    epoch = architecture.provenance.epoch
    source, weights = weights_of_epoch(experiment, epoch)
    input_size = architecture.provenance.input_size
    if input_size is None:
        raise ConfigError(
            f"{experiment.path}: the architecture of epoch {epoch} does not say the "
            "input size of its search; accepted is what stnas derive found"
        )
    chosen = inherited(
        weights, experiment.space, architecture.space, source, input_size
    )
    data = io.BytesIO()
    torch.save(chosen, data)
    write_bytes(path, data.getvalue())


def weights_of_epoch(
    experiment: SearchExperiment, epoch: Optional[int]
) -> tuple[Path, Weights]:
    """Return the file with the model of an epoch, and its weights (any shape).

    Args:
        experiment: The search.
        epoch: The epoch.

    Raises:
        ConfigError: If the search has not kept them.
    """
    own = experiment.path / f"{epoch}epoch.pth"
    if own.exists():
        return own, read_weights(own)
    checkpoint = experiment.path / "checkpoint.pth"
    # It is written at the end of an epoch, after the architecture.
    if epoch == experiment.epochs[-1] and _epoch_of(checkpoint) == epoch:
        return checkpoint, read_weights(checkpoint)
    raise ConfigError(
        f"{experiment.path} has no weights of epoch {epoch}: neither {own.name} nor, "
        "for the last epoch, checkpoint.pth; accepted are epochs whose weights ESPnet "
        "kept (keep_nbest_models)"
    )


def _epoch_of(checkpoint: Path) -> Optional[int]:
    """Return the epoch of a checkpoint; None if there is none, or it is damaged."""
    try:
        states = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return int(states["reporter"]["epoch"])
    except Exception:  # torch raises many kinds of errors at damaged files
        return None
