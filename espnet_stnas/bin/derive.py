"""Derive an architecture from a search, and a training YAML that holds it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Optional

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.messages import one_line, quote
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import SearchPlan, doubts
from espnet_stnas.results.derive import describe, write_training_config
from espnet_stnas.results.experiment import SearchExperiment


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--search_exp", help="output_dir of a search")
    source.add_argument("--arch", help="An architecture file, found elsewhere")
    parser.add_argument(
        "--epoch",
        default="latest",
        help="Epoch of the search to derive from: a number or 'latest'",
    )
    parser.add_argument("--output", help="Architecture file to write")
    parser.add_argument(
        "--train_config",
        help="ESPnet training YAML whose encoder is to be replaced",
    )
    parser.add_argument(
        "--train_output",
        help="Training YAML to write: train_config with the architecture inside",
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
    group.add_argument(
        "--latency_table", help="File that espnet_stnas.bin.measure_latency wrote"
    )
    group.add_argument(
        "--max_cost",
        action="append",
        default=[],
        help="The most it may cost besides the target of the search: params=8M, "
        "macs=2G or latency=50000 (microseconds); may be given several times",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="Write nothing if it costs more, instead of warning",
    )
    parser.add_argument(
        "--init_output",
        help="File to write: the supernet's weights of this architecture, and those of "
        "the rest of the model, for ESPnet's --init_param",
    )
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    if (args.train_config is None) != (args.train_output is None):
        parser.error("--train_config and --train_output go together")
    if args.init_output is not None and args.search_exp is None:
        parser.error("--init_output needs --search_exp, where the weights are")
    if not (args.output or args.train_output or args.init_output):
        parser.error("nothing to write: give --output, --train_output or both")
    with plain_errors():
        architecture, source = _find(args)
        history, plan, notes = _history(args, architecture)
        costs, excesses = _costs(args, architecture)
        if excesses and args.strict:
            raise ConfigError(f"{excesses[0]}; with --strict, nothing is written")
        if args.output is not None:
            architecture.write(args.output)
        if args.train_output is not None:
            write_training_config(
                architecture, args.train_config, args.train_output, source
            )
        if args.init_output is not None:
            # torch takes seconds to import.
            from espnet_stnas.results.inherit import write_inherited

            write_inherited(
                SearchExperiment.open(args.search_exp), architecture, args.init_output
            )
    print(describe(architecture, source, history))
    for cost in costs:
        print(f"cost: {cost}")
    for note in notes:
        print(f"note: {note}")
    for doubt in doubts(history, plan, ended=True):
        print(f"warning: {doubt.text}")
    for text in excesses:
        print(f"warning: {text}")


def _find(args: argparse.Namespace) -> tuple[Architecture, str]:
    if args.arch is not None:
        return Architecture.read(args.arch), one_line(args.arch)
    epoch = None
    if args.epoch != "latest":
        # No epoch has more digits, and Python reads only so many.
        if not re.fullmatch("[0-9]{1,9}", args.epoch):
            raise ConfigError(
                f"epoch is {quote(args.epoch)}; accepted is a number or 'latest'"
            )
        epoch = int(args.epoch)
    architecture = SearchExperiment.open(args.search_exp).searched(epoch)
    name = one_line(args.search_exp)
    return architecture, f"{name}, epoch {architecture.provenance.epoch}"


def _costs(
    args: argparse.Namespace, architecture: Architecture
) -> tuple[list[str], list[str]]:
    """Lines about the cost of an architecture, and about budgets that it exceeds."""
    known = architecture.provenance.input_size, architecture.provenance.cost
    asked = args.input_size, args.frames, args.latency_table, *args.max_cost
    if all(value is None for value in (*known, *asked)):
        return [], []
    # Counting builds the operations; torch takes seconds to import.
    from espnet_stnas.cost import budget

    costs = budget.costs_of(
        architecture,
        input_size=args.input_size,
        frames=args.frames,
        table=args.latency_table,
    )
    budgets = [budget.parse_budget(text) for text in args.max_cost]
    target = budget.target_of_search(architecture)
    if target is not None:
        budgets.append(target)
    return [str(cost) for cost in costs], budget.excesses(costs, budgets)


def _history(
    args: argparse.Namespace, architecture: Architecture
) -> tuple[Sequence[Architecture], SearchPlan, list[str]]:
    """The epochs that led to an architecture, if they are known, and notes on them."""
    if args.arch is not None:
        return (), SearchPlan(), []
    experiment = SearchExperiment.open(args.search_exp)
    notes = []
    if not experiment.plan.learns:
        notes.append(
            f"estimator '{experiment.plan.estimator}' does not train the logits: all "
            "candidates are equal, and the first of every choice stands here"
        )
    try:
        history = experiment.history(architecture.provenance.epoch)
    except ConfigError as error:
        # The epoch that is derived from is sound; this costs the table a column.
        return (), experiment.plan, [*notes, f"no word on stability: {error}"]
    return history, experiment.plan, notes


if __name__ == "__main__":
    main()
