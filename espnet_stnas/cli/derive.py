"""Derive an architecture from a search, and a training YAML that holds it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from espnet_stnas.cli.parser import UsageError, add_frame_shift, add_json, show
from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import one_line, quote
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import SearchPlan, doubts
from espnet_stnas.results.collection import resolve
from espnet_stnas.results.derive import describe, write_training_config
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.health import Health, read_health
from espnet_stnas.results.layer_table import architecture_rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "source",
        metavar="SEARCH_EXP|ARCH",
        help="Directory of a search, or an architecture file that was found elsewhere",
    )
    parser.add_argument(
        "--epoch",
        default="latest",
        help="Epoch of the search to derive from: a number or 'latest'",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="Derive from a search that failed as well",
    )
    group = parser.add_argument_group("What to write")
    group.add_argument("--output", help="Architecture file")
    group.add_argument(
        "--train_config",
        help="ESPnet training YAML whose encoder is to be replaced",
    )
    group.add_argument(
        "--train_output",
        help="Training YAML: train_config with the architecture inside",
    )
    group.add_argument(
        "--init_output",
        help="The supernet's weights of this architecture, and those of the rest of "
        "the model, for ESPnet's --init_param",
    )
    group = parser.add_argument_group("Cost of the architecture")
    group.add_argument(
        "--input_size",
        type=int,
        help="Dimensions of an input frame (default: as the search says)",
    )
    group.add_argument(
        "--frames", type=int, help="Count multiply-accumulates for so many frames"
    )
    group.add_argument("--latency_table", help="File that stnas measure-latency wrote")
    add_frame_shift(group)
    group.add_argument(
        "--max_cost",
        action="append",
        default=[],
        help="The most it may cost: params=8M, macs=2G, latency=50000 "
        "(microseconds) or lookahead=200 (ms); may be given several times. From a "
        "search, the most probable architecture that costs no more is derived; an "
        "architecture file is checked",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="Write nothing if it costs more than max_cost, or than the target of its "
        "search, instead of warning",
    )
    add_json(parser)


# Exit code if the supernet was not trained: the files are written all the same.
UNTRAINED = 3


def run(args: argparse.Namespace) -> int:
    """Write the files, and print the architecture."""
    if (args.train_config is None) != (args.train_output is None):
        raise UsageError("--train_config and --train_output go together")
    if not (args.output or args.train_output or args.init_output):
        raise UsageError("nothing to write: give --output, --train_output or both")
    if args.init_output and _is_file(args):
        raise UsageError("--init_output needs a search, where the weights are")
    architecture, source = _find(args)
    history, plan, notes = _history(args, architecture)
    if args.max_cost and not _is_file(args):
        within = _within(args, architecture)
        if within != architecture:
            notes = [*notes, "not the most probable of all, which exceeds max_cost"]
        architecture = within
    costs, excesses = _costs(args, architecture)
    if excesses and args.strict:
        raise ConfigError(f"{excesses[0]}; with --strict, nothing is written")
    if args.output is not None:
        architecture.write(args.output)
    if args.train_output is not None:
        task = None if _is_file(args) else SearchExperiment.open(args.source).task
        excesses += write_training_config(
            architecture, args.train_config, args.train_output, source, task
        )
    if args.init_output is not None:
        # torch takes seconds to import.
        from espnet_stnas.results.inherit import write_inherited

        write_inherited(
            SearchExperiment.open(args.source), architecture, args.init_output
        )
    health = Health()
    if not _is_file(args):
        epoch = architecture.provenance.epoch or 0
        health = read_health(args.source).up_to(epoch)
    good, bad = health.findings()
    warnings = [doubt.text for doubt in doubts(history, plan, ended=True)]
    warnings += [*bad, *excesses]
    lines = [describe(architecture, source, history)]
    lines += [f"cost: {cost}" for cost in costs]
    lines += [f"note: {note}" for note in (*notes, *good)]
    lines += [f"warning: {text}" for text in warnings]
    layers = [
        {"number": r.number, "operation": r.op, "probability": r.probability}
        for r in architecture_rows(architecture)
    ]
    data = {
        "source": source,
        "layers": layers,
        "costs": costs,
        "notes": [*notes, *good],
        "warnings": warnings,
    }
    show(args, "\n".join(lines), data)
    return UNTRAINED if health.untrained else 0


def _is_file(args: argparse.Namespace) -> bool:
    """Return whether the architecture comes from a file, not from a search."""
    path = Path(args.source)
    # SearchExperiment refuses an averaged checkpoint and gives the reason.
    return path.is_file() and path.suffix != ".pth"


def _find(args: argparse.Namespace) -> tuple[Architecture, str]:
    args.source = str(resolve(args.source))
    if not Path(args.source).exists():
        raise ConfigError(
            f"{args.source} does not exist; accepted is the output_dir of a search, or "
            "an architecture file"
        )
    if _is_file(args):
        for option, given in (
            ("--epoch", args.epoch != "latest"),
            ("--init_output", args.init_output is not None),
        ):
            if given:
                raise ConfigError(
                    f"{option} needs a search, and {args.source} is a file; accepted "
                    "is the output_dir of a search"
                )
        return Architecture.read(args.source), one_line(args.source)
    epoch = None
    if args.epoch != "latest":
        # No epoch has more digits, and Python refuses to read very long numbers.
        if not re.fullmatch("[0-9]{1,9}", args.epoch):
            raise ConfigError(
                f"epoch is {quote(args.epoch)}; accepted is a number or 'latest'"
            )
        epoch = int(args.epoch)
    experiment = SearchExperiment.open(args.source)
    failure = experiment.failure_in(experiment.path)
    if failure is not None and not args.force:
        raise ConfigError(
            f"the search in {args.source} failed: {failure}; --force derives from the "
            "epochs that it finished"
        )
    architecture = experiment.searched(epoch)
    name = one_line(args.source)
    return architecture, f"{name}, epoch {architecture.provenance.epoch}"


def _within(args: argparse.Namespace, best: Architecture) -> Architecture:
    """Return the most probable architecture of a search that keeps max_cost."""
    from espnet_stnas.cost import budget
    from espnet_stnas.selection.within import within_budgets

    budgets = [budget.parse_budget(text) for text in args.max_cost]
    return within_budgets(
        SearchExperiment.open(args.source).space,
        best,
        budgets,
        input_size=args.input_size,
        frames=args.frames,
        latency_table=args.latency_table,
        frame_shift=args.frame_shift,
    )


def _costs(
    args: argparse.Namespace, architecture: Architecture
) -> tuple[list[str], list[str]]:
    """Return lines about the costs of an architecture and about exceeded budgets."""
    known = architecture.provenance.input_size, architecture.provenance.cost
    asked = args.input_size, args.frames, args.latency_table, args.frame_shift
    if all(value is None for value in (*known, *asked, *args.max_cost)):
        return [], []
    # Counting builds the operations; torch takes seconds to import.
    from espnet_stnas.cost import budget

    costs = budget.costs_of(
        architecture,
        input_size=args.input_size,
        frames=args.frames,
        table=args.latency_table,
        frame_shift=args.frame_shift,
    )
    budgets = [budget.parse_budget(text) for text in args.max_cost]
    target = budget.target_of_search(architecture)
    if target is not None:
        budgets.append(target)
    return [str(cost) for cost in costs], budget.excesses(costs, budgets)


def _history(
    args: argparse.Namespace, architecture: Architecture
) -> tuple[Sequence[Architecture], SearchPlan, list[str]]:
    """Return the epochs up to an architecture, the search's plan, and notes."""
    if _is_file(args):
        return (), SearchPlan(), []
    experiment = SearchExperiment.open(args.source)
    notes = []
    if not experiment.plan.learns:
        notes.append(
            f"estimator '{experiment.plan.estimator}' does not train the logits: all "
            "candidates are equal, and the first of every choice stands here"
        )
    try:
        history = experiment.history(architecture.provenance.epoch)
    except ConfigError as error:
        # The chosen epoch itself is fine; only a column of the table is missing.
        return (), experiment.plan, [*notes, f"no word on stability: {error}"]
    return history, experiment.plan, notes
