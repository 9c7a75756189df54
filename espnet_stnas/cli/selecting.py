"""Options and steps of selecting, common to stnas select and stnas verify."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

from espnet_stnas.cli.evaluate import add_evaluation_options, evaluator_of
from espnet_stnas.cli.parser import add_frame_shift, add_frames, add_input_size
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.selection.evaluation import METRICS, Evaluation
from espnet_stnas.selection.evolution import Evolution
from espnet_stnas.selection.paths import PathIndices

if TYPE_CHECKING:
    from espnet_stnas.selection.evaluate import Evaluator
    from espnet_stnas.selection.limits import Measures
    from espnet_stnas.selection.select import Choice, Selector

_EVOLUTION = Evolution()
WAYS = ("both", "probability", "supernet")


def add_selection_options(parser: argparse.ArgumentParser, drawn: str) -> None:
    """Add the options that say which architectures are the best.

    Args:
        parser: The parser.
        drawn: What the seed is of.
    """
    parser.add_argument(
        "--max",
        action="append",
        default=[],
        metavar="COST=MOST",
        help="The most that it may be: params=8M, macs=2G, latency=50000 "
        "(microseconds), field=40 (frames of receptive field), lookahead=200 (ms), or "
        "a share of the largest architecture: latency=60%%; may be given several times",
    )
    parser.add_argument("--by", default="both", choices=WAYS, help="What is the best")
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
    group.add_argument("--seed", type=int, default=0, help=f"Of {drawn}")
    group = parser.add_argument_group("Costs")
    add_input_size(group)
    add_frames(group)
    add_frame_shift(group)
    group.add_argument(
        "--latency_table",
        help="File that stnas measure-latency wrote (default: that of the search)",
    )
    group.add_argument(
        "--latency_device",
        help="Part of the name of the device that the latencies must be of",
    )
    group.add_argument(
        "--latency_runtime",
        help="Runtime that the latencies must be of: torch, onnxruntime",
    )
    group.add_argument(
        "--latency_precision",
        help="Precision that the latencies must be of: fp32, int8",
    )
    add_evaluation_options(parser)


def found_for(
    args: argparse.Namespace, experiment: SearchExperiment, one: bool = True
) -> Architecture:
    """Return the architecture of the epoch whose probabilities and weights count.

    Args:
        args: The options.
        experiment: The search.
        one: Whether single architectures are selected, not a front.
    """
    trusts_pi = one and args.by != "supernet"
    return (experiment.searched if trusts_pi else experiment.architecture)(args.epoch)


def best_of(
    args: argparse.Namespace,
    selector: Selector,
    evaluator: LazyEvaluator,
    options: Evolution,
) -> list[Choice]:
    """Return the best architectures, in the way that the options say."""
    if args.by == "probability":
        return selector.by_probability(args.top)
    if args.by == "both":
        return selector.by_both(evaluator, args.metric, args.shortlist, args.top)
    return selector.by_supernet(evaluator, args.metric, options, args.top)


class LazyEvaluator:
    """Opens the search's weights and data when something is to be evaluated.

    Args:
        args: The options.
        experiment: The search.
    """

    def __init__(self, args: argparse.Namespace, experiment: SearchExperiment) -> None:
        self._args = args
        self._experiment = experiment

    @functools.cached_property
    def _evaluator(self) -> Evaluator:
        return evaluator_of(self._args, self._experiment)

    def __call__(self, paths: Sequence[PathIndices]) -> list[Evaluation]:
        """Evaluate architectures."""
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
    frame_shift = args.frame_shift
    if frame_shift is None and isinstance(conf, dict):
        frame_shift = conf.get("frame_shift")
    known = found.provenance.input_size
    return Measures(
        experiment.space,
        known if args.input_size is None else args.input_size,
        frames=args.frames,
        latency_table=table_file,
        latency_device=args.latency_device,
        latency_runtime=args.latency_runtime,
        latency_precision=args.latency_precision,
        frame_shift=frame_shift,
    )


def selector_of(
    args: argparse.Namespace,
    experiment: SearchExperiment,
    found: Architecture,
    objectives: Sequence[str] = (),
) -> Selector:
    """Return the selector that the options describe.

    Args:
        args: The options.
        experiment: The search.
        found: The architecture of the epoch.
        objectives: Objectives of a Pareto front, if one is made.
    """
    from espnet_stnas.selection.probable import log_probabilities
    from espnet_stnas.selection.select import Selector

    measures = _measures(args, experiment, found)
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


def how_selected(
    args: argparse.Namespace, selector: Selector, front: Optional[str] = None
) -> dict[str, Any]:
    """Return how architectures were selected, for their provenance."""
    how: dict[str, Any] = {"by": args.by, "data": args.data, "metric": args.metric}
    if front is not None:
        how = {"front": front, "data": args.data}
    elif args.by == "probability":
        how = {"by": args.by}
    if args.max:
        how["max"] = {limit.measure.kind: limit.most for limit in selector.limits}
    return how
