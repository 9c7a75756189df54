"""Select the best architectures of a search under any number of limits.

--by probability takes the most probable ones, exactly. --by supernet takes those with
the best result with the shared weights, which an evolution looks for. --by both
evaluates a shortlist of the most probable ones. --front makes a Pareto front instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Optional

<<<<<<< HEAD
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
=======
from espnet_stnas.cli.derive import UNTRAINED
from espnet_stnas.cli.evaluate import add_evaluation_options, evaluator_of
from espnet_stnas.cli.parser import add_json, show
from espnet_stnas.cli.selected import (
    check_files,
    described,
    how_selected,
    write_files,
)
from espnet_stnas.files import read_yaml_mapping
>>>>>>> w-front
from espnet_stnas.messages import one_line
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.derive import read_template
from espnet_stnas.results.experiment import SearchExperiment
<<<<<<< HEAD
from espnet_stnas.selection.evolution import Evolution
from espnet_stnas.selection.paths import path_name

if TYPE_CHECKING:
    from espnet_stnas.selection.select import Choice, Selector
=======
from espnet_stnas.results.health import read_health
from espnet_stnas.selection.evaluation import METRICS, Evaluation
from espnet_stnas.selection.evolution import Evolution
from espnet_stnas.selection.paths import PathIndices

if TYPE_CHECKING:
    from espnet_stnas.selection.evaluate import Evaluator
    from espnet_stnas.selection.limits import Measures
    from espnet_stnas.selection.select import Selector
>>>>>>> w-front


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
<<<<<<< HEAD
    add_selection_options(parser, "the evolution")
=======
    parser.add_argument(
        "--train_output",
        help="Training YAML: train_config with the best architecture inside",
    )
    group = parser.add_argument_group("By the supernet")
    group.add_argument(
        "--metric", default="loss", choices=tuple(METRICS), help="What is compared"
    )
    group.add_argument(
        "--shortlist",
        type=int,
        default=50,
        help="With --by both: how many of the most probable ones to evaluate",
    )
    group.add_argument(
        "--population",
        type=int,
        default=_EVOLUTION.population,
        help="Architectures that survive a generation of the evolution",
    )
    group.add_argument(
        "--generations",
        type=int,
        default=_EVOLUTION.generations,
        help="Generations of the evolution; if the space has no more architectures "
        "than it would evaluate, all are evaluated",
    )
    group.add_argument("--seed", type=int, default=0, help="Of the evolution")
    group = parser.add_argument_group("Costs")
    group.add_argument(
        "--input_size",
        type=int,
        help="Dimensions of an input frame (default: as the search says)",
    )
    group.add_argument(
        "--frames",
        type=int,
        default=1000,
        help="Length of the utterance whose multiply-accumulates count",
    )
    group.add_argument(
        "--latency_table",
        help="File that stnas measure-latency wrote (default: that of the search)",
    )
    group.add_argument(
        "--latency_device",
        help="Part of the name of the device that the latencies must be of",
    )
    add_evaluation_options(parser)
>>>>>>> w-front
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
<<<<<<< HEAD
        chosen = best_of(args, selector, evaluator, options)
    how = how_selected(args, selector, args.front)
    files, warnings = _write(args, experiment, found, chosen, how)
    lines, data = _described(args, experiment, chosen, selector)
=======
        chosen = selector.by_supernet(evaluator, args.metric, options, args.top)
    how = how_selected(args, selector)
    files, warnings = write_files(args, experiment, found, chosen, how)
    lines, data = described(args, experiment, chosen, selector)
>>>>>>> w-front
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


<<<<<<< HEAD
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
=======
class _LazyEvaluator:
    """Opens the search's weights and data when something is to be evaluated."""

    def __init__(self, args: argparse.Namespace, experiment: SearchExperiment) -> None:
        self._args = args
        self._experiment = experiment

    @functools.cached_property
    def _evaluator(self) -> Evaluator:
        return evaluator_of(self._args, self._experiment)

    def __call__(self, paths: Sequence[PathIndices]) -> list[Evaluation]:
        return self._evaluator(paths)


def _measures(
    args: argparse.Namespace, experiment: SearchExperiment, found: Architecture
) -> Measures:
    from espnet_stnas.selection.limits import Measures

    config = read_yaml_mapping(experiment.path / "config.yaml", "experiment config")
    conf = config.get("cost_conf")
    table_file = args.latency_table
    if table_file is None and isinstance(conf, dict):
        table_file = conf.get("table")
    known = found.provenance.input_size
    return Measures(
        experiment.space,
        known if args.input_size is None else args.input_size,
        frames=args.frames,
        latency_table=table_file,
        latency_device=args.latency_device,
    )


def _selector(
    args: argparse.Namespace,
    experiment: SearchExperiment,
    found: Architecture,
    measures: Measures,
    objectives: Sequence[str],
) -> Selector:
    from espnet_stnas.selection.probable import log_probabilities
    from espnet_stnas.selection.select import Selector

    limits = [measures.limit(text) for text in args.max]
    kinds = [limit.measure.kind for limit in limits]
    kinds += [name for name in objectives if name not in METRICS]
    if measures.input_size is not None:
        kinds.insert(0, "params")
    pi = [list(choice.values()) for choice in found.provenance.probabilities]
    return Selector(
        experiment.space,
        log_probabilities(pi),
        limits,
        [measures[kind] for kind in dict.fromkeys(kinds)],
    )
>>>>>>> w-front


def _notes(experiment: SearchExperiment) -> list[str]:
    failure: Optional[str] = experiment.failure_in(experiment.path)
    notes = [] if failure is None else [f"note: the search failed: {failure}"]
    if not experiment.plan.learns:
        notes.append(
            f"note: estimator '{experiment.plan.estimator}' does not train the logits, "
            "so all architectures are equally probable"
        )
    return notes
