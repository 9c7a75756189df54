"""What ``stnas select`` writes and prints. No torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from espnet_stnas.cli.evaluate import result_cells, result_header
from espnet_stnas.cli.parser import UsageError, table
from espnet_stnas.messages import one_line
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.derive import write_training_config
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.selection.paths import path_name

if TYPE_CHECKING:
    from espnet_stnas.selection.select import Choice, Selector


def check_files(args: argparse.Namespace) -> None:
    """Refuse options of files that do not go together.

    Raises:
        UsageError: If a file is missing, or would hold several architectures.
    """
    if args.train_output is not None and args.train_config is None:
        raise UsageError("--train_output needs --train_config")
    if args.train_config is not None and args.train_output is None:
        if args.output is None:
            raise UsageError("--train_config needs --output or --train_output")
        if _is_file(args.output):
            raise UsageError("--train_config needs --train_output, or a directory")
    one = args.train_output is not None or _is_file(args.output)
    if one and (args.top != 1 or args.front is not None):
        raise UsageError(
            "--output FILE.yaml and --train_output hold one architecture; give a "
            "directory with --top and --front"
        )


def _is_file(output: Optional[str]) -> bool:
    return output is not None and Path(output).suffix in (".yaml", ".yml")


def write_files(
    args: argparse.Namespace,
    experiment: SearchExperiment,
    found: Architecture,
    chosen: Sequence[Choice],
    how: Mapping[str, Any],
) -> tuple[list[Path], list[str]]:
    """Write the files that the options ask for.

    Args:
        args: The options.
        experiment: The search.
        found: The most probable architecture of the same epoch.
        chosen: The selected architectures.
        how: How they were selected.

    Returns:
        The files, and warnings about the training YAMLs.
    """
    if args.output is None and args.train_output is None:
        return [], []
    from espnet_stnas.selection.write import selected, write_selected

    source = f"{one_line(args.experiment)}, epoch {found.provenance.epoch}"
    architectures = [
        selected(c, experiment.space, found.provenance, {**how, "rank": n})
        for n, c in enumerate(chosen, start=1)
    ]
    files: list[Path] = []
    warnings: list[str] = []
    if args.output is not None and not _is_file(args.output):
        template = args.train_config if args.train_output is None else None
        files, warnings = write_selected(
            architectures, args.output, template, source, experiment.task
        )
    elif args.output is not None:
        files.append(Path(args.output))
        architectures[0].write(files[-1])
    if args.train_output is not None:
        files.append(Path(args.train_output))
        warnings = write_training_config(
            architectures[0], args.train_config, files[-1], source, experiment.task
        )
    return files, warnings


def described(
    args: argparse.Namespace,
    experiment: SearchExperiment,
    chosen: Sequence[Choice],
    selector: Selector,
) -> tuple[list[str], dict[str, Any]]:
    """Return a table of the selected architectures, and the same for programs."""
    results = [c.evaluation for c in chosen if c.evaluation is not None]
    header = ["", "architecture", "log probability"]
    header += [m.kind for m in selector.measures]
    header += result_header(results) if results else []
    rows = []
    for number, choice in enumerate(chosen, start=1):
        row = [str(number), path_name(experiment.space, choice.path)]
        row.append(f"{choice.log_probability:.3f}")
        row += [_cost(choice.costs[m.kind]) for m in selector.measures]
        row += result_cells(choice.evaluation) if choice.evaluation else []
        rows.append(row)
    what = f"front of {args.front}" if args.front is not None else f"by {args.by}"
    title = f"Architectures of {one_line(args.experiment)}, {what}:"
    data = [
        {
            "layers": path_name(experiment.space, c.path).split(" "),
            "log_probability": c.log_probability,
            "costs": dict(c.costs),
            **(vars(c.evaluation) if c.evaluation is not None else {}),
        }
        for c in chosen
    ]
    origins = {m.kind: m.origin for m in selector.measures if m.origin}
    lines = [title, table(header, rows)]
    lines += [f"{kind}: {origin}" for kind, origin in origins.items()]
    return lines, {"architectures": data, "measured": origins}


def _cost(value: float) -> str:
    return f"{value:,.0f}" if value < 1e15 else "all"
