"""Shows architectures and search spaces as text, and compares two. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from espnet_stnas.files import PathLike
from espnet_stnas.messages import one_line
from espnet_stnas.notation.reach import FRAME_SHIFT, describe_view, view_of
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture, read_space
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.layer_table import LayerRow

# Longer lists of candidates are printed below the table.
_LONGEST = 60


@dataclass(frozen=True)
class SpaceFile:
    """The contents of a file.

    Args:
        name: The file.
        architecture: Its architecture; a search space is stored in the same form.
        input_size: Dimensions of an input frame, if the file contains them.
    """

    name: str
    architecture: Architecture
    input_size: Optional[int]

    @property
    def space(self) -> SearchSpace:
        """The architecture's layers, or the search space."""
        return self.architecture.space


@dataclass(frozen=True)
class CostRange:
    """The range of one cost over all architectures of a space.

    Args:
        name: Name of the cost.
        least: Cost of the cheapest architecture.
        most: Cost of the most expensive architecture.
    """

    name: str
    least: float
    most: float

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.least:,.0f}"
        return f"{self.least:,.0f} to {self.most:,.0f}"


def read_space_file(path: PathLike, *, whole_space: bool = False) -> SpaceFile:
    """Read an architecture or a search space; see :func:`read_space`.

    Args:
        path: A file, the directory of a training, or the directory of a search (then
            its last architecture is read).
        whole_space: Read the space of a search instead of its last architecture.

    Raises:
        ConfigError: If it is none of these.
    """
    if Path(path).is_dir():
        if not whole_space and (Path(path) / "architectures").is_dir():
            architecture = SearchExperiment.open(path).architecture()
            size = architecture.provenance.input_size
            return SpaceFile(str(path), architecture, size)
        path = Path(path) / "config.yaml"
    space, provenance, config = read_space(path, "architecture or search space")
    frontend = config.get("frontend_conf")
    size = provenance.input_size
    if isinstance(frontend, dict) and config.get("frontend", "default") == "default":
        mels = frontend.get("n_mels")
        size = mels if size is None and type(mels) is int else size
    return SpaceFile(str(path), Architecture(space, provenance), size)


def show_text(
    file: SpaceFile,
    rows: Sequence[LayerRow],
    costs: Sequence[CostRange],
    frame_shift: float = FRAME_SHIFT,
) -> str:
    """Describe an architecture or a search space as text.

    Args:
        file: The architecture or search space.
        rows: Its layers.
        costs: Its costs.
        frame_shift: Milliseconds from one input frame to the next.

    Raises:
        ConfigError: If the frame shift is not above 0.
    """
    space = file.space
    lines = [f"{one_line(file.name)}: {_headline(space)}", *_table(rows)]
    lines += [f"  {cost.name}: {cost}" for cost in costs]
    if space.choices:
        lines.append("  of the architecture that sees most:")
    lines.append(describe_view(view_of(space), frame_shift))
    return "\n".join(lines)


def _headline(space: SearchSpace) -> str:
    layers = f"{len(space.layers)} layer{'s' * (len(space.layers) > 1)}"
    settings = f"width {space.width}, dropout {space.dropout_rate:g}" + (
        ", skips around layers that keep width and length" if space.residual else ""
    )
    if space.is_architecture:
        return f"architecture of {layers} ({settings})"
    return (
        f"search space of {layers}, {len(space.choices)} choices, "
        f"{space.num_architectures:,} architectures ({settings})"
    )


def _table(rows: Sequence[LayerRow]) -> list[str]:
    long = dict.fromkeys(row.ops for row in rows if len(row.op) > _LONGEST)
    names = {ops: f"one of {len(ops)} ({n})" for n, ops in enumerate(long, start=1)}
    columns: dict[str, list[str]] = {
        "": [str(row.number) for row in rows],
        "operation": [names.get(row.ops, row.op) for row in rows],
        "skip": ["yes" if row.skip else "" for row in rows],
        "probability": [
            "" if row.probability is None else f"{row.probability:.3f}" for row in rows
        ],
        "width": ["" if row.width is None else str(row.width) for row in rows],
        "parameters": [row.size for row in rows],
        "1 frame in": [str(row.view.stride) for row in rows],
        "sees": [row.seen for row in rows],
    }
    table = _table_lines({name: cells for name, cells in columns.items() if any(cells)})
    return table + [f"  ({n}) {' | '.join(ops)}" for n, ops in enumerate(long, start=1)]


def difference(
    one: SpaceFile, other: SpaceFile, costs: Sequence[tuple[CostRange, CostRange]]
) -> tuple[str, bool]:
    """Describe the difference between two architectures or search spaces.

    Args:
        one: The first file.
        other: The second file.
        costs: The costs of both, kind by kind.

    Returns:
        The text, and whether the two are the same.
    """
    same = one.space == other.space
    lines = [f"- {one_line(one.name)}", f"+ {one_line(other.name)}"]
    if same:
        lines.append("  the same layers and settings")
        return "\n".join(lines), True
    for key in ("width", "dropout_rate", "residual"):
        values = [getattr(s.space, key) for s in (one, other)]
        if values[0] != values[1]:
            lines.append(f"  {key}: {values[0]} -> {values[1]}")
    lines += _layer_differences(one.space, other.space)
    if one.space.blocks != other.space.blocks and len(one.space.layers) == len(
        other.space.layers
    ):
        lines.append("  the layers are wired in other blocks")
    for first, second in costs:
        text = f"  {first.name}: {first} -> {second}"
        if first.least == first.most and second.least == second.most and first.least:
            text += f" ({100 * (second.least / first.least - 1):+.1f} %)"
        lines.append(text)
    return "\n".join(lines), False


def _layer_differences(one: SearchSpace, other: SearchSpace) -> list[str]:
    texts = [[str(layer.to_conf()) for layer in space.layers] for space in (one, other)]
    matcher = difflib.SequenceMatcher(None, texts[0], texts[1], autojunk=False)
    lines = []
    if len(texts[0]) == len(texts[1]):
        pairs = enumerate(zip(*texts, strict=True), start=1)
        return [f"  layer {n}: {a} -> {b}" for n, (a, b) in pairs if a != b]
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal":
            continue
        for k in range(max(i2 - i1, j2 - j1)):
            if i1 + k < i2:
                lines.append(f"  - layer {i1 + k + 1}: {texts[0][i1 + k]}")
            if j1 + k < j2:
                lines.append(f"  + layer {j1 + k + 1}: {texts[1][j1 + k]}")
    return lines


def _table_lines(columns: dict[str, list[str]]) -> list[str]:
    """Format columns as lines, with numbers aligned to the right."""
    cells = []
    for name, values in columns.items():
        width = max(map(len, (name, *values)))
        number = name not in ("operation", "sees", "skip")
        cells.append(
            [v.rjust(width) if number else v.ljust(width) for v in (name, *values)]
        )
    return ["  " + "  ".join(row).rstrip() for row in zip(*cells, strict=True)]
