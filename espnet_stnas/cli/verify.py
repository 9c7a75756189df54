"""Train the best architectures of a search, and say whether it was better than chance.

The finalists are those of stnas select, or given as files. They train by successive
halving: all begin, and the better ones go on. Random architectures of equal size and
other encoders train wholly. All are scored on the same test sets by greedy CTC
decoding. The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_stnas.cli.parser import add_json, show
from espnet_stnas.cli.selecting import (
    LazyEvaluator,
    add_selection_options,
    best_of,
    found_for,
    how_selected,
    selector_of,
)
from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import one_line
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.curves import read_curves
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.selection.evolution import Evolution
from espnet_stnas.selection.halving import plan_halving
from espnet_stnas.selection.paths import TOLERANCE
from espnet_stnas.selection.training_config import Inheritance

if TYPE_CHECKING:
    from espnet_stnas.selection.greedy import TestSet
    from espnet_stnas.selection.outcome import Outcome
    from espnet_stnas.selection.verify import Verification


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "experiment", metavar="SEARCH_EXP", help="Directory of a search"
    )
    parser.add_argument(
        "--train_config",
        required=True,
        help="ESPnet training YAML to put the encoders in; what it lacks of data, "
        "tokens and normalization is that of the search",
    )
    parser.add_argument(
        "--output", required=True, help="Directory for trainings and results"
    )
    parser.add_argument(
        "--top", type=int, default=8, help="How many architectures are finalists"
    )
    parser.add_argument(
        "--arch", nargs="+", metavar="FILE", help="Architecture files to take instead"
    )
    group = parser.add_argument_group("Successive halving")
    group.add_argument(
        "--rungs",
        type=int,
        help="Parts of the finalists' trainings, after each of which the better ones "
        "go on; 1: all train wholly (default: until one is left)",
    )
    group.add_argument(
        "--eta", type=int, default=2, help="One of so many goes on after each"
    )
    group = parser.add_argument_group("To compare with")
    group.add_argument(
        "--random", type=int, default=0, help="Random architectures of equal size"
    )
    group.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help="How far their parameters may be off those of the finalists, as a share",
    )
    group.add_argument(
        "--baselines",
        action="store_true",
        help="The largest architecture of the space, and the largest within --max",
    )
    group.add_argument(
        "--by_hand",
        action="append",
        default=[],
        metavar="NAME=OP[,OP,...]",
        help="An operation for all choices, or one for each; may be repeated",
    )
    group.add_argument(
        "--espnet",
        nargs="+",
        default=[],
        metavar="YAML",
        help="Training YAMLs with encoders of ESPnet",
    )
    group = parser.add_argument_group("Trainings")
    group.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="Each trains with all of them"
    )
    group.add_argument("--nj", type=int, default=1, help="Trainings at a time")
    group.add_argument("--ngpu", type=int, default=0, help="GPUs of each training")
    group.add_argument(
        "--cmd",
        help="Command that runs a training elsewhere, such as 'slurm.pl --mem 8G': it "
        "gets --gpu if there are any, a log file, and the command",
    )
    group = parser.add_argument_group("Scores")
    group.add_argument(
        "--test",
        action="append",
        default=[],
        metavar="NAME=WAV_SCP,TEXT",
        help="Test set; may be repeated (default: the validation set of the search)",
    )
    group.add_argument(
        "--rate",
        default="wer",
        choices=("wer", "ter"),
        help="Word or token error rate",
    )
    add_selection_options(parser, "the evolution and of random architectures")
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Train what is missing, score it, and print table and verdict."""
    experiment = SearchExperiment.open(args.experiment)
    source = Inheritance(experiment)
    config = source.complete(args.train_config)
    if args.nj < 1:
        raise ConfigError(f"nj is {args.nj}; accepted is an integer from 1 on")
    found = found_for(args, experiment)
    # Counting and decoding need torch and ESPnet, which take seconds to import.
    from espnet_stnas.host.lock import locked
    from espnet_stnas.selection.greedy import named_test, validation_set
    from espnet_stnas.selection.trainings import Launcher
    from espnet_stnas.selection.verification_files import (
        outcome_markdown,
        write_outcome,
    )
    from espnet_stnas.selection.verify import claim, refuse_others

    tests = [named_test(text) for text in args.test]
    tests = tests or [validation_set(source.data["valid"].data)]
    if len({test.name for test in tests}) < len(tests):
        raise ConfigError("two test sets have the same name; rename one of them")
    output = Path(args.output)
    launcher = Launcher(
        source.options(), jobs=args.nj, ngpu=args.ngpu, command=args.cmd
    )
    refuse_others(output, experiment)
    verification = _verification(args, experiment, source, config, found)
    with locked(output, "verification"):
        claim(output, experiment)
        # Before hours of training, people want to know how many.
        print("\n".join(verification.described()), flush=True)
        # Clusters end jobs so; local trainings must not stay behind.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            whole = verification.run(launcher, print)
        except KeyboardInterrupt:
            print("stopped; the same command goes on at the last epochs")
            raise SystemExit(130) from None
        finally:
            signal.signal(signal.SIGTERM, before)
        outcome = _outcome(args, experiment, verification, whole, tests)
        files = write_outcome(outcome, output)
    files.append(output / outcome.chosen / "train.yaml")
    text = "\n".join([outcome_markdown(outcome), *map(one_line, files)])
    show(args, text, {**outcome.to_dict(), "files": files})


def _verification(
    args: argparse.Namespace,
    experiment: SearchExperiment,
    source: Inheritance,
    config: dict[str, Any],
    found: Architecture,
) -> Verification:
    from espnet_stnas.results.baselines import by_hand
    from espnet_stnas.results.provenance import Provenance
    from espnet_stnas.selection.entrants import Entrant, check_name, of_equal_size
    from espnet_stnas.selection.equal_size import largest_path
    from espnet_stnas.selection.limits import AddedCost
    from espnet_stnas.selection.select import check_count
    from espnet_stnas.selection.verify import Verification
    from espnet_stnas.selection.write import selected

    space = experiment.space
    selector = selector_of(args, experiment, found)
    params = next(m for m in selector.measures if m.kind == "params")
    assert isinstance(params, AddedCost)
    entrants: list[Entrant] = []

    def add(name: str, kind: str, architecture: Architecture) -> None:
        conf = {"encoder": "stnas", "encoder_conf": architecture.space.to_conf()}
        size = int(params.least(space.index(architecture.space)))
        epochs = config["max_epoch"]
        entrant = Entrant(name, kind, {**config, **conf}, epochs, architecture, size)
        entrants.append(entrant)

    if args.arch is not None:
        finalists = [_given(experiment, file) for file in args.arch]
    else:
        check_count("top", args.top)
        check_count("shortlist", args.shortlist)
        options = Evolution(args.population, args.generations, args.seed)
        evaluator = LazyEvaluator(args, experiment)
        choices = best_of(args, selector, evaluator, options)
        if len(choices) < args.top:
            raise ConfigError(
                f"top is {args.top}, but there are only {len(choices)} architectures "
                "within the limits; accepted is at most as many"
            )
        how = how_selected(args, selector)
        finalists = [
            selected(choice, space, found.provenance, {**how, "rank": rank})
            for rank, choice in enumerate(choices, start=1)
        ]
    plan = plan_halving(
        len(finalists), config["max_epoch"], eta=args.eta, rungs=args.rungs
    )
    for number, architecture in enumerate(finalists, start=1):
        add(f"finalist{number}", "finalist", architecture)
    drawn = of_equal_size(
        params,
        [space.index(architecture.space) for architecture in finalists],
        selector.limits,
        count=args.random,
        seed=args.seed,
        tolerance=args.tolerance,
    )
    at_random = Provenance(chosen="at random", seed=args.seed)
    for number, path in enumerate(drawn, start=1):
        add(f"random{number}", "random", Architecture(space.resolve(path), at_random))
    if args.baselines:
        limits = {"largest": [], "largest_within": selector.limits}
        for name, some in limits.items():
            if some or name == "largest":
                best = space.resolve(largest_path(params, some))
                most = Provenance(chosen="most parameters")
                add(name, "baseline", Architecture(best, most))
    for entry in args.by_hand:
        name, _, operations = entry.partition("=")
        check_name("by_hand", name)
        add(name, "baseline", by_hand(space, operations.split(",")))
    for file in args.espnet:
        other = source.complete(file)
        name = Path(file).stem
        check_name("espnet", name)
        entrants.append(Entrant(name, "baseline", other, other["max_epoch"]))
    return Verification(entrants, args.seeds, plan, Path(args.output))


def _given(experiment: SearchExperiment, file: str) -> Architecture:
    architecture = Architecture.read(file)
    try:
        experiment.space.index(architecture.space)
    except ConfigError as error:
        raise ConfigError(
            f"{file} does not belong to the search space of {experiment.path}: {error}"
        ) from None
    return architecture


def _outcome(
    args: argparse.Namespace,
    experiment: SearchExperiment,
    verification: Verification,
    whole: list[str],
    tests: list[TestSet],
) -> Outcome:
    from espnet_stnas.selection.outcome import Outcome

    notes = []
    if not args.test:
        notes.append(
            "Note: the finalists were also chosen on the validation set, so its error "
            "rates favour them; give --test."
        )
    scored = {*whole, *verification.of_kind("random", "baseline")}
    trainings = verification.results(scored, tests, args.device)
    seconds = {p.epoch: p.seconds or 0.0 for p in read_curves(experiment.path)}
    return Outcome(
        trainings,
        whole[0],
        [test.name for test in tests],
        args.rate,
        sum(seconds.values()),
        notes,
    )
