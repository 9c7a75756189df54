"""Select the best architectures of a search under any number of limits.

--by probability takes the most probable ones, exactly. --by supernet takes those with
the best result with the shared weights, which an evolution looks for. --by both
evaluates a shortlist of the most probable ones. --front makes a Pareto front instead.
"""

from __future__ import annotations

import argparse
from typing import Optional

from espnet_stnas.cli.derive import UNTRAINED
from espnet_stnas.cli.parser import add_json, show
from espnet_stnas.cli.selected import check_files, described, write_files
from espnet_stnas.cli.selecting import (
    LazyEvaluator,
    add_selection_options,
    best_of,
    found_for,
    how_selected,
    selector_of,
)
from espnet_stnas.messages import one_line
from espnet_stnas.results.derive import read_template
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.health import read_health
from espnet_stnas.selection.evolution import Evolution


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
        help="Directory for architecture files and, with --front, a table and a "
        "figure; or FILE.yaml for the best architecture",
    )
    parser.add_argument(
        "--train_config",
        help="ESPnet training YAML: write one with each architecture, too",
    )
    parser.add_argument(
        "--train_output",
        help="Training YAML: train_config with the best architecture inside",
    )
    add_selection_options(parser, "the evolution")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Select, write the files, and print a table."""
    check_files(args)
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
    files, warnings = write_files(args, experiment, found, chosen, how)
    lines, data = described(args, experiment, chosen, selector)
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
    health = read_health(experiment.path).up_to(found.provenance.epoch or 0)
    warnings += health.findings()[1]
    lines += _notes(experiment) + [f"warning: {text}" for text in warnings]
    lines += [one_line(path) for path in files]
    show(args, "\n".join(lines), {**data, "warnings": warnings, "files": files})
    return UNTRAINED if health.untrained else 0


def _notes(experiment: SearchExperiment) -> list[str]:
    failure: Optional[str] = experiment.failure_in(experiment.path)
    notes = [] if failure is None else [f"note: the search failed: {failure}"]
    if not experiment.plan.learns:
        notes.append(
            f"note: estimator '{experiment.plan.estimator}' does not train the logits, "
            "so all architectures are equally probable"
        )
    return notes
