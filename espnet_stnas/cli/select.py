"""Select the best architectures of a search under any number of limits.

--by probability takes the most probable ones, exactly. --by supernet takes those with
the best result with the shared weights, which an evolution looks for. --by both
evaluates a shortlist of the most probable ones. --front makes a Pareto front instead.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Optional

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
from espnet_stnas.messages import one_line
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.derive import read_template
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.health import read_health
from espnet_stnas.selection.evaluation import METRICS, Evaluation
from espnet_stnas.selection.evolution import Evolution
from espnet_stnas.selection.paths import PathIndices

if TYPE_CHECKING:
    from espnet_stnas.selection.evaluate import Evaluator
    from espnet_stnas.selection.limits import Measures
    from espnet_stnas.selection.select import Selector

_EVOLUTION = Evolution()
WAYS = ("both", "probability", "supernet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "experiment", metavar="SEARCH_EXP", help="Directory of a search"
    )
    parser.add_argument(
        "--max",
        action="append",
        default=[],
        metavar="COST=MOST",
        help="The most that it may be: params=8M, macs=2G, latency=50000 "
        "(microseconds), field=40 (frames of receptive field), lookahead=10 (frames), "
        "or a share of the largest architecture: latency=60%%; may be given several "
        "times",
    )
    parser.add_argument("--by", default="both", choices=WAYS, help="What is the best")
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
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Select, write the files, and print a table."""
    check_files(args)
    if args.train_config is not None:
        read_template(args.train_config)
    options = Evolution(args.population, args.generations, args.seed)
    experiment = SearchExperiment.open(args.experiment)
    trusts_pi = args.front is None and args.by != "supernet"
    found = (experiment.searched if trusts_pi else experiment.architecture)(args.epoch)
    # Counting builds the operations; torch takes seconds to import.
    from espnet_stnas.selection.select import check_count, parse_objectives

    objectives = [] if args.front is None else parse_objectives(args.front)
    check_count("top", args.top)
    check_count("shortlist", args.shortlist)
    measures = _measures(args, experiment, found)
    selector = _selector(args, experiment, found, measures, objectives)
    evaluator = _LazyEvaluator(args, experiment)
    if objectives:
        chosen, choices = selector.front(evaluator, objectives, options)
    elif args.by == "probability":
        chosen = selector.by_probability(args.top)
    elif args.by == "both":
        chosen = selector.by_both(evaluator, args.metric, args.shortlist, args.top)
    else:
        chosen = selector.by_supernet(evaluator, args.metric, options, args.top)
    how = how_selected(args, selector)
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


def _notes(experiment: SearchExperiment) -> list[str]:
    failure: Optional[str] = experiment.failure_in(experiment.path)
    notes = [] if failure is None else [f"note: the search failed: {failure}"]
    if not experiment.plan.learns:
        notes.append(
            f"note: estimator '{experiment.plan.estimator}' does not train the logits, "
            "so all architectures are equally probable"
        )
    return notes
