"""Training configs that take what they lack from a search. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, read_yaml_mapping
from espnet_stnas.messages import quote
from espnet_stnas.results.derive import read_template
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.selection.data import data_files

# What recipes give on the command line, so that training YAMLs seldom have it.
INHERITED = (
    *("token_list", "token_type", "bpemodel", "non_linguistic_symbols", "cleaner"),
    *("g2p", "input_size", "fold_length"),
)
_TASKS = ("asr",)


class Inheritance:
    """What trainings take from a search: data, tokens and statistics.

    Args:
        experiment: The search.

    Raises:
        ConfigError: If its task cannot be verified, or it names no data.
    """

    def __init__(self, experiment: SearchExperiment) -> None:
        task = experiment.task or "asr"
        if task not in _TASKS:
            raise ConfigError(
                f"{experiment.path} is a search of the task '{task}'; accepted here is "
                f"{', '.join(_TASKS)}, whose errors are counted"
            )
        self.config = read_yaml_mapping(
            experiment.path / "config.yaml", "experiment config"
        )
        self.data = {kind: data_files(experiment, kind) for kind in ("train", "valid")}

    def options(self) -> list[str]:
        """Return the options that name the data sets, for a command line."""
        words = []
        for kind, files in self.data.items():
            for row in files.data:
                words += [f"--{kind}_data_path_and_name_and_type", ",".join(row)]
            for path in files.shapes:
                words += [f"--{kind}_shape_file", path]
        return words

    def complete(self, template: PathLike) -> dict[str, Any]:
        """Read a training YAML, and add what it lacks.

        Args:
            template: The YAML.

        Raises:
            ConfigError: If it is damaged, of a search, says no number of epochs, or
                trains no CTC output.
        """
        config = read_template(template)
        epochs = config.get("max_epoch")
        if type(epochs) is not int or epochs < 1:
            raise ConfigError(
                f"training config {template}: max_epoch is {quote(epochs)}; accepted "
                "is an integer from 1 on"
            )
        conf = config.get("model_conf")
        if isinstance(conf, Mapping) and conf.get("ctc_weight") == 0:
            raise ConfigError(
                f"training config {template}: model_conf has ctc_weight 0; accepted is "
                "more than 0, since errors of the CTC output are counted"
            )
        for key in INHERITED:
            if self.config.get(key) is not None:
                config.setdefault(key, self.config[key])
        if not {"normalize", "normalize_conf"} & config.keys():
            for key in ("normalize", "normalize_conf"):
                config[key] = self.config.get(key)
        self._add_rate(config)
        return config

    def _add_rate(self, config: dict[str, Any]) -> None:
        """Add the sampling rate, which asr.sh gives on the command line."""
        known = self.config.get("frontend_conf") or {}
        own = config.get("frontend_conf") or {}
        same = config.get("frontend", "default") == self.config.get("frontend")
        if same and isinstance(own, dict) and "fs" in known and "fs" not in own:
            config["frontend_conf"] = {**own, "fs": known["fs"]}
