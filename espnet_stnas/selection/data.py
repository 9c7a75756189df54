"""The data sets that the config.yaml of a search names. No torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_bytes, read_yaml_mapping
from espnet_stnas.messages import quote
from espnet_stnas.results.experiment import SearchExperiment

DATA_SETS = ("valid", "train", "architecture")


@dataclass(frozen=True)
class DataFiles:
    """The files of a data set, as ESPnet's options name them.

    Args:
        data: Path, name and type of each kind of data.
        shapes: Shape files.
    """

    data: tuple[tuple[str, str, str], ...]
    shapes: tuple[str, ...]

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that identify the contents of the files.

        Recordings are files of their own, and do not count.
        """
        found = hashlib.sha256()
        for path, name, kind in self.data:
            found.update(f"{name} {kind}\n".encode())
            found.update(_contents(path))
        for path in self.shapes:
            found.update(_contents(path))
        return found.hexdigest()[:12]


def data_files(experiment: SearchExperiment, name: str) -> DataFiles:
    """Return the files of a data set of a search.

    Args:
        experiment: The search.
        name: ``valid``, ``train``, or ``architecture`` for the part of the training set
            that the search had set aside for architecture steps.

    Raises:
        ConfigError: If the search has no such data set, or a file is missing.
    """
    config_file = experiment.path / "config.yaml"
    config = read_yaml_mapping(config_file, "experiment config")
    if name not in DATA_SETS:
        raise ConfigError(
            f"data is {quote(name)}; accepted are: {', '.join(DATA_SETS)}"
        )
    kind = "valid" if name == "valid" else "train"
    data = data_rows(config.get(f"{kind}_data_path_and_name_and_type"))
    shapes = config.get(f"{kind}_shape_file")
    if not data or not isinstance(shapes, list) or not shapes:
        raise ConfigError(
            f"{config_file} names no {kind} set ({kind}_data_path_and_name_and_type "
            f"and {kind}_shape_file); accepted is the output_dir of stnas search"
        )
    shapes = [str(path) for path in shapes]
    if name == "architecture":
        folder = experiment.path / "split" / "architecture"
        shapes = sorted(map(str, folder.glob("*")))
        if not shapes:
            raise ConfigError(
                f"{folder} holds no files, since this search set no part of its "
                "training set aside (arch_data); accepted are valid and train"
            )
    for path in (*(row[0] for row in data), *shapes):
        if not Path(path).exists():
            raise ConfigError(
                f"{path}, which {config_file} names, does not exist; run this in the "
                "directory in which the search ran"
            )
    return DataFiles(data, tuple(shapes))


def data_rows(value: Any) -> tuple[tuple[str, str, str], ...]:
    """Return path, name and type of each kind of data, as config.yaml lists them."""
    if not isinstance(value, list):
        return ()
    return tuple(tuple(map(str, row)) for row in value if len(row) == 3)  # type: ignore[misc]


def _contents(path: str) -> bytes:
    # Some kinds of data are directories.
    return b"" if Path(path).is_dir() else read_bytes(path, "data file")
