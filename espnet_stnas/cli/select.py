"""Select the best architectures of a search under any number of limits.

--by probability takes the most probable ones, exactly. --by supernet takes those with
the best result with the shared weights, which an evolution looks for. --by both
evaluates a shortlist of the most probable ones. --front makes a Pareto front instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from espnet_stnas.cli.evaluate import result_cells, result_header
from espnet_stnas.cli.parser import UsageError, add_json, show, table
from espnet_stnas.cli.selecting import (
    LazyEvaluator,
    add_selection_options,
    best_of,
    found_for,
    how_selected,
    selector_of,
)
from espnet_stnas.messages import one_line
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.derive import read_template
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.selection.evolution import Evolution
from espnet_stnas.selection.paths import path_name

if TYPE_CHECKING:
    from espnet_stnas.selection.select import Choice, Selector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "experiment", metavar="SEARCH_EXP", help="Directory of a search"
    )
    parser.add_argument(
        "--top", type=int, default=1, help="How many architectures to select"
    )
    parser.add_argument(
        "--front",
        metavar="A,B",
        help="Objectives of a Pareto front, such as params,loss: costs and measures",
    )
    parser.add_argument(
        "--output",
        help="Directory for architecture files and, with --front, a table and a figure",
    )
    parser.add_argument(
        "--train_config",
        help="ESPnet training YAML: write one with each architecture, too",
    )
    add_selection_options(parser, "the evolution")
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Select, write the files, and print a table."""
    if args.train_config is not None and args.output is None:
        raise UsageError("--train_config needs --output")
    if args.train_config is not None:
        read_template(args.train_config)
    options = Evolution(args.population, args.generations, args.seed)
    experiment = SearchExperiment.open(args.experiment)
    found = found_for(args, experiment, args.front is None)
    # Counting builds the operations; torch takes seconds to import.
    from espnet_stnas.selection.select import check_count, parse_objectives

    objectives = [] if args.front is None else parse_objectives(args.front)
    check_count("top", args.top)
    check_count("shortlist", args.shortlist)
    selector = selector_of(args, experiment, found, objectives)
    evaluator = LazyEvaluator(args, experiment)
    if objectives:
        chosen, choices = selector.front(evaluator, objectives, options)
    else:
        chosen = best_of(args, selector, evaluator, options)
    how = how_selected(args, selector, args.front)
    files, warnings = _write(args, experiment, found, chosen, how)
    lines, data = _described(args, experiment, chosen, selector)
    if objectives:
        volume, box = selector.volume(chosen, choices, objectives)
        edges = (
            f"{name} {first:,.6g} to {last:,.6g}"
            for name, (first, last) in zip(objectives, box, strict=True)
        )
        lines.append(
            f"hypervolume: {volume:.4f} of the box {', '.join(edges)}; "
            f"{len(choices)} architectures were evaluated"
        )
        data |= {"hypervolume": volume, "box": box, "evaluated": len(choices)}
        if args.output is not None:
            from espnet_stnas.selection.write import write_front

            files += write_front(
                choices, chosen, objectives, experiment.space, args.output
            )
    lines += _notes(experiment) + [f"warning: {text}" for text in warnings]
    lines += [one_line(path) for path in files]
    show(args, "\n".join(lines), {**data, "warnings": warnings, "files": files})


def _write(
    args: argparse.Namespace,
    experiment: SearchExperiment,
    found: Architecture,
    chosen: Sequence[Choice],
    how: dict[str, Any],
) -> tuple[list[Path], list[str]]:
    if args.output is None:
        return [], []
    from espnet_stnas.selection.write import selected, write_selected

    ranks = enumerate(chosen, start=1)
    architectures = [
        selected(c, experiment.space, found.provenance, {**how, "rank": n})
        for n, c in ranks
    ]
    return write_selected(
        architectures,
        args.output,
        args.train_config,
        f"{one_line(args.experiment)}, epoch {found.provenance.epoch}",
        experiment.task,
    )


def _described(
    args: argparse.Namespace,
    experiment: SearchExperiment,
    chosen: Sequence[Choice],
    selector: Selector,
) -> tuple[list[str], dict[str, Any]]:
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
    return [title, table(header, rows)], {"architectures": data}


def _cost(value: float) -> str:
    return f"{value:,.0f}" if value < 1e15 else "all"


def _notes(experiment: SearchExperiment) -> list[str]:
    failure: Optional[str] = experiment.failure_in(experiment.path)
    notes = [] if failure is None else [f"note: the search failed: {failure}"]
    if not experiment.plan.learns:
        notes.append(
            f"note: estimator '{experiment.plan.estimator}' does not train the logits, "
            "so all architectures are equally probable"
        )
    return notes
