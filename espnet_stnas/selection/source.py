"""Model and data of a search experiment, by ESPnet's own task."""

from __future__ import annotations

import argparse
import importlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from espnet2.torch_utils.device_funcs import to_device
from espnet2.train.distributed_utils import DistributedOption

import espnet_stnas  # noqa: F401  (registers encoder and model)
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.host.data import name_data_errors
from espnet_stnas.messages import one_line
from espnet_stnas.network.weights import Weights
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.search.names import TASKS
from espnet_stnas.selection.data import DataFiles


class Source:
    """Builds the model of a search, and batches of its data.

    Args:
        experiment: The search.
        weights: Weights of one of its epochs.
        name: Their file, for messages.
        device: Device of model and batches: ``cpu`` or ``cuda``.
        options: Options of the model, if not those in the search's ``config.yaml``.

    Raises:
        ConfigError: If the model cannot be built, or the weights are of another one.
    """

    def __init__(
        self,
        experiment: SearchExperiment,
        weights: Weights,
        name: Path,
        device: str,
        options: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self.experiment = experiment
        self.device = device
        config = experiment.path / "config.yaml"
        self._task = _task(experiment.task or "asr")
        try:
            if options is None:
                options = read_yaml_mapping(config, "experiment config")
            self._args = argparse.Namespace(**options)
            self.model = self._task.build_model(self._args).to(device)
            self.model.load_state_dict(weights)
        except Exception as error:  # ESPnet and torch raise many kinds of errors
            raise ConfigError(
                f"the model of {config} cannot be built with the weights of {name} "
                f"({type(error).__name__}: {one_line(error)[:500]})"
            ) from error
        self.model.eval()

    def batches(
        self, files: DataFiles, *, most: Optional[int] = None
    ) -> Iterator[dict[str, Any]]:
        """Yield batches for the model, in a fixed order and without augmentation.

        Args:
            files: The data set.
            most: Number of batches, drawn from a fixed random order; None: all.

        Raises:
            ConfigError: If no batches can be made.
        """
        options = {
            "data_path_and_name_and_type": files.data,
            "shape_files": files.shapes,
        }
        try:
            factory = self._task.build_iter_factory(
                self._args, DistributedOption(), "valid", options
            )
        except (OSError, RuntimeError, ValueError, AssertionError) as error:
            raise ConfigError(
                f"no batches can be made of {', '.join(files.shapes)} "
                f"({type(error).__name__}: {one_line(error)[:500]})"
            ) from error
        name_data_errors(factory)
        iterator = factory.build_iter(1, shuffle=most is not None)
        for utterances, batch in itertools.islice(iterator, most):
            yield {"utt_id": utterances, **to_device(batch, self.device)}


def _task(name: str) -> Any:
    """Return ESPnet's task."""
    if name not in TASKS:
        raise ConfigError(f"task is '{name}'; accepted are: {', '.join(TASKS)}")
    module, task = TASKS[name]
    return getattr(importlib.import_module(f"espnet2.tasks.{module}"), task)
