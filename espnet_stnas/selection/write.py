"""Files of selected architectures, and of a Pareto front."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from espnet_stnas.files import PathLike, write_text
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.drawing import COLOURS, new_figure, save_figure
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.derive import write_training_config
from espnet_stnas.results.provenance import Provenance
from espnet_stnas.selection.limits import UNITS
from espnet_stnas.selection.paths import path_name
from espnet_stnas.selection.select import Choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMES = {**UNITS, "error_rate": "token errors %", "accuracy": "accuracy %"}


def selected(
    choice: Choice, space: SearchSpace, found: Provenance, how: Mapping[str, Any]
) -> Architecture:
    """Return a selected architecture, with how it was selected in its provenance.

    Args:
        choice: The architecture.
        space: The search space.
        found: Provenance of an architecture of the same epoch.
        how: How it was selected.
    """
    evaluation = choice.evaluation
    known = {} if evaluation is None else asdict(evaluation)
    note = {
        **how,
        "log_probability": round(choice.log_probability, 6),
        "costs": {k: v for k, v in choice.costs.items() if math.isfinite(v)},
        **{key: value for key, value in known.items() if value is not None},
    }
    cost = found.cost
    if cost is not None:
        # That of the file is the most probable architecture's.
        own = choice.costs.get(cost.kind)
        cost = None if own is None else replace(cost, value=own)
    others = {**found.others, "selected": note}
    return Architecture(
        space.resolve(choice.path), replace(found, cost=cost, others=others)
    )


def write_selected(
    architectures: Sequence[Architecture],
    directory: PathLike,
    train_config: Optional[PathLike],
    source: str,
    task: Optional[str],
) -> tuple[list[Path], list[str]]:
    """Write architecture files, and training YAMLs with them.

    Args:
        architectures: The architectures; their files get numbers in this order.
        directory: Directory to write to.
        train_config: ESPnet training YAML whose encoder is replaced; None: write only
            architecture files.
        source: Origin of the architectures.
        task: The ESPnet task of the search, if known.

    Returns:
        The files, and warnings about the training YAML.
    """
    digits = len(str(len(architectures)))
    files: list[Path] = []
    warnings: list[str] = []
    for number, architecture in enumerate(architectures, start=1):
        files.append(Path(directory) / f"{number:0{digits}d}.yaml")
        architecture.write(files[-1])
        if train_config is not None:
            name = f"train_{files[-1].name}"
            files.append(files[-1].with_name(name))
            warnings += write_training_config(
                architecture, train_config, files[-1], source, task
            )
    return files, list(dict.fromkeys(warnings))


def points_csv(
    choices: Sequence[Choice], front: Sequence[Choice], space: SearchSpace
) -> str:
    """Return a table of all architectures that were evaluated for a front.

    Args:
        choices: The architectures.
        front: The choices on the Pareto front.
        space: The search space.
    """
    on_front = {choice.path for choice in front}
    text = io.StringIO()
    rows = [_row(choice, choice.path in on_front, space) for choice in choices]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(choice: Choice, on_front: bool, space: SearchSpace) -> dict[str, Any]:
    assert choice.evaluation is not None
    known = {k: v for k, v in asdict(choice.evaluation).items() if v is not None}
    return {
        "architecture": path_name(space, choice.path),
        "front": int(on_front),
        "log_probability": choice.log_probability,
        **choice.costs,
        **known,
    }


def front_figure(
    choices: Sequence[Choice], front: Sequence[Choice], objectives: Sequence[str]
) -> Figure:
    """Draw all architectures and the front: the first objective against each other one.

    Args:
        choices: All architectures that were evaluated.
        front: The choices on the Pareto front.
        objectives: Kinds of costs, and measures of evaluations.
    """
    across, *others = objectives
    figure = new_figure(6.0, 0.5 + 3.5 * len(others))
    for place, name in enumerate(others, start=1):
        axis = figure.add_subplot(len(others), 1, place)
        for points, colour, marker, label in (
            (choices, COLOURS[7], ".", "evaluated"),
            (front, COLOURS[0], "o", "Pareto front"),
        ):
            axis.plot(
                [_shown(choice, across) for choice in points],
                [_shown(choice, name) for choice in points],
                # With a third objective, the front is no line.
                linestyle="-" if points is front and len(others) == 1 else "",
                drawstyle="steps-post",
                color=colour,
                marker=marker,
                label=label,
            )
        axis.set_xlabel(_NAMES.get(across, across))
        axis.set_ylabel(_NAMES.get(name, name))
        for side, what in ((axis.xaxis, across), (axis.yaxis, name)):
            if what in UNITS:
                side.set_major_formatter("{x:,.0f}")
        axis.grid(color="0.85", linewidth=0.6)
    figure.axes[0].legend(frameon=False)
    return figure


def _shown(choice: Choice, name: str) -> float:
    """Return a cost or a measure, as people read it."""
    if name in choice.costs:
        return choice.costs[name]
    value = float(getattr(choice.evaluation, name))
    return value if name == "loss" else 100 * value


def write_front(
    choices: Sequence[Choice],
    front: Sequence[Choice],
    objectives: Sequence[str],
    space: SearchSpace,
    directory: PathLike,
) -> list[Path]:
    """Write the table and the figure of a Pareto front.

    Args:
        choices: All architectures that were evaluated.
        front: The choices on the Pareto front.
        objectives: Kinds of costs, and measures of evaluations.
        space: The search space.
        directory: Directory to write to.

    Returns:
        The files.
    """
    files = [Path(directory) / name for name in ("points.csv", "front.png")]
    write_text(files[0], points_csv(choices, front, space))
    save_figure(front_figure(choices, front, objectives), files[1])
    return files
