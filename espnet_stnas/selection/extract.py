"""Makes a trained ESPnet model of an architecture, with the weights of its search."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import (
    PathLike,
    dump_yaml,
    read_yaml_mapping,
    write_bytes,
    write_text,
)
from espnet_stnas.network.weights import Weights, inherited
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.inherit import weights_of_epoch
from espnet_stnas.results.search_options import SEARCH_OPTIONS
from espnet_stnas.selection.data import data_files
from espnet_stnas.selection.evaluate import has_batch_norm
from espnet_stnas.supernet.calibration import batch_norms
from espnet_stnas.supernet.paths import evaluation_mode
from espnet_stnas.supernet.supernet import build_supernet

if TYPE_CHECKING:
    from espnet_stnas.selection.source import Source

# The name of the weights, of those that ESPnet's and our decoding look for.
WEIGHTS = "valid.loss.best.pth"
# The architectures that have a name.
ENDS = ("largest", "smallest")


@dataclass(frozen=True)
class Extracted:
    """A model that was written.

    Args:
        epoch: Epoch of the search that its weights come from.
        parameters: Parameters of its encoder.
        batches: Training batches that gave the statistics of its batch norms; 0 if it
            has none.
    """

    epoch: int
    parameters: int
    batches: int


def end_path(experiment: SearchExperiment, name: str) -> tuple[int, ...]:
    """Return the candidate indices of the largest or the smallest architecture.

    Args:
        experiment: A search with an epoch.
        name: ``largest`` or ``smallest``.
    """
    with torch.device("meta"):
        supernet = build_supernet(experiment.space, _input_size(experiment))
    return supernet.largest_path() if name == ENDS[0] else supernet.smallest_path()


def extract(
    experiment: SearchExperiment,
    path: Sequence[int],
    output: PathLike,
    *,
    epoch: Optional[int] = None,
    calibration: int = 20,
    device: str = "cpu",
) -> Extracted:
    """Write the directory of an architecture's model, as ESPnet's training leaves it.

    It has ``config.yaml``, without options of the search, and the weights. Nothing of a
    supernet is in it.

    Args:
        experiment: The search.
        path: The architecture: a candidate index for each choice.
        output: The directory to write.
        epoch: Epoch of the weights; None: the last one.
        calibration: Training batches that give each batch norm its statistics; those
            of the search mix all paths, or are those of the largest.
        device: ``cpu`` or ``cuda``.

    Raises:
        ConfigError: If the search has no such epoch, weights or data, or the directory
            holds a training.
    """
    output = Path(output)
    if (output / "config.yaml").exists() or output.is_file():
        raise ConfigError(
            f"output is {output}, which holds a training or is a file; accepted is a "
            "directory without a config.yaml"
        )
    if calibration < 1:
        raise ConfigError(f"calibration is {calibration}; accepted is a number from 1")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch finds no CUDA device here")
    size = _input_size(experiment, epoch)
    found = experiment.architecture(epoch).provenance.epoch
    assert found is not None
    source, weights = weights_of_epoch(experiment, found)
    architecture = experiment.space.resolve(path)
    chosen = inherited(weights, experiment.space, architecture, source, size)
    config = training_options(experiment, architecture.to_conf(), output)
    # ESPnet takes seconds to import, so errors in options are found first.
    from espnet_stnas.selection.source import Source

    model = Source(experiment, chosen, source, device, config)
    batches = 0
    if has_batch_norm(chosen):
        files = data_files(experiment, "train")
        batches = recalibrate(model, model.batches(files, most=calibration))
    _write_weights(model.model.state_dict(), output / WEIGHTS)
    # Last: whoever finds it finds the weights, too.
    write_text(output / "config.yaml", dump_yaml(config))
    encoder = _encoder(model)
    return Extracted(found, sum(p.numel() for p in encoder.parameters()), batches)


def training_options(
    experiment: SearchExperiment, encoder_conf: Mapping[str, Any], output: PathLike
) -> dict[str, Any]:
    """Return the options that a training of an architecture would have had.

    Args:
        experiment: The search.
        encoder_conf: The architecture.
        output: Directory of the training.
    """
    config = read_yaml_mapping(experiment.path / "config.yaml", "experiment config")
    kept = {key: v for key, v in config.items() if key not in SEARCH_OPTIONS}
    changed = {"encoder_conf": dict(encoder_conf), "output_dir": str(output)}
    return {**kept, **changed}


def recalibrate(source: Source, batches: Iterable[Mapping[str, Any]]) -> int:
    """Give the batch norms of an encoder the statistics of batches.

    They are the mean over the batches, each normalised by itself as in training (see
    :func:`~espnet_stnas.supernet.paths.calibrate`).

    Args:
        source: The model, changed in place.
        batches: What the model's ``forward`` takes.

    Returns:
        The number of batches.

    Raises:
        ConfigError: If there is none.
    """
    norms = [(norm, norm.momentum) for norm in batch_norms(_encoder(source))]
    count = 0
    with evaluation_mode(source.model):
        for norm, _ in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.training = True
        for batch in batches:
            source.model(**batch)
            count += 1
        for norm, momentum in norms:
            norm.momentum = momentum
            norm.training = False
    if not count:
        raise ConfigError("the training set has no batch for the batch norms")
    return count


def _encoder(source: Source) -> torch.nn.Module:
    from espnet_stnas.host.encoder import STNASEncoder

    return next(m for m in source.model.modules() if isinstance(m, STNASEncoder))


def _input_size(experiment: SearchExperiment, epoch: Optional[int] = None) -> int:
    size = experiment.architecture(epoch).provenance.input_size
    if size is None:
        raise ConfigError(
            f"{experiment.path}: its architectures do not say the input size of the "
            "search; accepted is the output_dir of stnas search"
        )
    return size


def _write_weights(weights: Weights, path: Path) -> None:
    data = io.BytesIO()
    torch.save({name: value.cpu() for name, value in weights.items()}, data)
    write_bytes(path, data.getvalue())
