"""Writes an architecture into a training YAML for any ESPnet recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import (
    PathLike,
    dump_yaml,
    read_text,
    read_yaml_mapping,
    write_text,
)
from espnet_stnas.messages import one_line
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import Certainty, certainties, runner_up
from espnet_stnas.results.search_options import SEARCH_OPTIONS

_FOUND_ON = "# Found on input frames of "

# Header of the table of `describe`, and the columns that hold numbers.
_HEADER = [
    *("", "operation", "probability", "next best", "", "margin"),
    "same for the last",
]
_NUMBERS = (0, 2, 4, 5)


def write_training_config(
    architecture: Architecture,
    template: PathLike,
    path: PathLike,
    source: str,
    task: Optional[str] = None,
) -> list[str]:
    """Write a training YAML that contains the architecture.

    The YAML contains the architecture itself, since ESPnet copies its configuration
    into the experiment and into packed models. So no further file is needed to use
    them.

    Args:
        architecture: The architecture.
        template: ESPnet training YAML; only its encoder is replaced.
        path: File to write; it is written completely or not at all.
        source: Origin of the architecture, for the comment at the top.
        task: The ESPnet task of the search, if known: ``asr``, ``st``, ...

    Returns:
        Warnings about settings of the template that do not suit the architecture.

    Raises:
        ConfigError: If the template is damaged or is the configuration of a search.
    """
    config = {
        **read_template(template),
        "encoder": "stnas",
        "encoder_conf": architecture.space.to_conf(),
    }
    # Names of files may contain line breaks, or bytes that are no valid text.
    header = f"# {one_line(template)} with the architecture of {one_line(source)}.\n"
    found_with = architecture.provenance.input_size
    if found_with is not None:
        header += f"{_FOUND_ON}{found_with} dimensions.\n"
    header += training_comment(task)
    write_text(path, header + dump_yaml(config))
    return _other_features(found_with, _input_size(config), template)


def read_template(template: PathLike) -> dict[str, Any]:
    """Read an ESPnet training YAML that is to get an architecture.

    Args:
        template: The YAML.

    Returns:
        What it says.

    Raises:
        ConfigError: If the file is damaged or is the configuration of a search.
    """
    config = read_yaml_mapping(template, "training config")
    wrong = [key for key in SEARCH_OPTIONS if key in config]
    if wrong:
        raise ConfigError(
            f"training config {template} has the key '{wrong[0]}', which belongs to a "
            "search; accepted is a YAML of an ESPnet training"
        )
    return config


def other_features(path: PathLike, input_size: Optional[int]) -> list[str]:
    """Return a warning if a derived YAML is trained on features of another size.

    Args:
        path: A YAML that :func:`write_training_config` may have written.
        input_size: Dimensions of an input frame of the training, if known.
    """
    # Only a comment can say it: ESPnet refuses keys that are not its own.
    lines = read_text(path, "training config").splitlines()
    found = (re.fullmatch(rf"{_FOUND_ON}(\d{{1,9}}) dimensions\.", x) for x in lines)
    sizes = [int(match[1]) for match in found if match]
    return _other_features(sizes[0] if sizes else None, input_size, path)


def _other_features(
    found_with: Optional[int], given: Optional[int], path: PathLike
) -> list[str]:
    if found_with is None or given is None or given == found_with:
        return []
    return [
        f"the architecture was found on input frames of {found_with} "
        f"dimensions, and {one_line(path)} trains on frames of {given}: its cost "
        "and its ranking may be others; search with these features, or train with "
        "those of the search"
    ]


def training_comment(task: Optional[str] = None) -> str:
    """Return a comment line that says how to train with a YAML.

    Args:
        task: The ESPnet task, if known.
    """
    program = f"espnet2.bin.{task or 'TASK'}_train"
    example = "" if task else " (asr_train, st_train, ...)"
    return f"# Needs espnet_stnas: python3 -m espnet_stnas.run -m {program}{example}\n"


def _input_size(config: Mapping[str, Any]) -> Optional[int]:
    """Return the dimensions of an input frame, if a training YAML sets them."""
    given = config.get("input_size")
    conf = config.get("frontend_conf")
    if given is None and config.get("frontend", "default") == "default":
        given = conf.get("n_mels") if isinstance(conf, dict) else None
    return given if type(given) is int else None


def describe(
    architecture: Architecture, source: str, history: Sequence[Architecture] = ()
) -> str:
    """Return a table of the layers and of the search's certainty about each choice.

    Args:
        architecture: The architecture.
        source: Origin of the architecture.
        history: The architectures of the search's epochs up to this one, in order, if
            known.
    """
    stability = {c.layer: _stability(c) for c in certainties(history)}
    rows = []
    layers = zip(architecture.space.layers, architecture.decisions(), strict=True)
    for number, (layer, pi) in enumerate(layers, start=1):
        op = str(layer.candidates[0])
        row = [str(number), op]
        if pi is not None and op in pi and len(pi) > 1:
            name, p = runner_up(pi, op)
            row += [f"{pi[op]:.3f}", name, f"{p:.3f}", f"{pi[op] - p:.3f}"]
            row += [stability[number]] if number in stability else []
        rows.append(row)
    widest = max(map(len, rows))
    if widest > 2:
        rows.insert(0, _HEADER[:widest])
    return "\n".join([f"Architecture of {source}:", *_table_lines(rows)])


def _stability(c: Certainty) -> str:
    text = f"{c.unchanged} of {c.searched} epochs"
    if c.agreed > c.unchanged:
        text += f", {c.agreed} of the last {c.window} in all"
    return text


def _table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    columns = range(max(map(len, rows)))
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in columns]
    return [
        "  "
        + "  ".join(
            cell.rjust(widths[i]) if i in _NUMBERS else cell.ljust(widths[i])
            for i, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]
