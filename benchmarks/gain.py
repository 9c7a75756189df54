"""What a search gains: searched, random, hand-made and ESPnet's encoders, by seeds.

    python benchmarks/gain.py --work DIR --seeds 0 1 2 --num_random 10
    python benchmarks/gain.py --work DIR --corpus fsdd --variant hard --fsdd_dir DIR ...

Runs the digits recipe, all its stages and baselines, for each search space and seed (of
corpus, search and training), and prints error rates with mean and standard deviation.
Seeds differ in their test sets, too, so a second table compares each searched encoder
with the random ones of its own seed. What is done already is not done again, so it can
be stopped and called with more seeds.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import yaml
from measure import markdown_table

from espnet_stnas.report.speed import model_sizes

BUDGET = "params=85%"
RECIPE = Path(__file__).parents[1] / "egs2" / "digits" / "asr_stnas1" / "run.sh"
SPACES = ("tdnn", "tdnn_wide", "conformer", "ebranchformer", "hybrid")
ESPNET = ("conformer", "ebranchformer")
KINDS = ("random", "hand", "espnet")


class Trained(NamedTuple):
    """A trained encoder: word error rate in percent, parameters of the whole model."""

    wer: float
    parameters: Optional[int]


class Run(NamedTuple):
    """What one run of the recipe trained, by the names of its directories."""

    space: str
    seed: int
    encoders: Mapping[str, Trained]


def baselines(space: str, spaces: Sequence[str], kinds: Sequence[str] = KINDS) -> str:
    """What to train beside the searched architecture: nothing twice.

    ESPnet's encoders are the same for all spaces, and those of both TDNN spaces that
    were made by hand are the same.
    """
    tdnn = ("tdnn", "tdnn_wide")
    twice = set()
    if space in tdnn and set(spaces[: spaces.index(space)]) & set(tdnn):
        twice.add("hand")
    if space != spaces[0]:
        twice.add("espnet")
    return ",".join(kind for kind in kinds if kind not in twice) or "false"


def run_recipe(args: argparse.Namespace, space: str, seed: int) -> Path:
    """Run the recipe once; where its experiments are."""
    data = args.work / f"data_{args.corpus}_{args.variant}_{seed}"
    exp = args.work / f"exp_{args.corpus}_{args.variant}_{space}_{seed}"
    options = {
        "corpus": args.corpus,
        "variant": args.variant,
        "space": space,
        "seed": seed,
        "data_seed": seed,
        "baselines": baselines(space, args.spaces, args.baselines),
        "num_random": args.num_random,
        "budget": args.budget,
        "decoder": args.decoder,
        "data": data,
        "exp": exp,
        "python": sys.executable,
        "search_args": args.search_args,
        "train_args": args.train_args,
    }
    for name in ("train_minutes", "dev_minutes", "test_minutes", "nj", "fsdd_dir"):
        if getattr(args, name) is not None:
            options[name] = getattr(args, name)
    command = [str(RECIPE)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    print(f"{space}, seed {seed}: {exp}", file=sys.stderr, flush=True)
    with open(args.work / f"{exp.name}.log", "a", encoding="utf-8") as log:
        result = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT)
    if result.returncode != 0:
        sys.exit(f"error: the recipe failed; see {args.work / f'{exp.name}.log'}")
    return exp


def count_parameters(training: Path) -> Optional[int]:
    """The parameters of the whole model of a training, if it can be built."""
    sizes = model_sizes(training)
    return None if sizes is None else sizes.model


def trained_encoders(
    exp: Path, decoder: str = "espnet", budget: str = BUDGET
) -> dict[str, Trained]:
    """Every encoder of one run that was trained and scored, by its name."""
    place = "decode_test" if decoder == "espnet" else f"decode_{decoder}"
    # As run.sh names them.
    suffix = "" if budget == BUDGET else "_" + re.sub("[^a-zA-Z0-9.]", "", budget)
    others = sorted((exp / f"baselines{suffix}").iterdir())
    found = {}
    for training in (exp / f"derived{suffix}", *others):
        score = training / place / "score.yaml"
        if score.exists():
            wer = float(yaml.safe_load(score.read_text())["wer"])
            name = training.name if training in others else "derived"
            found[name] = Trained(wer, count_parameters(training))
    return found


def kind(name: str, space: str) -> str:
    """The row that an encoder belongs to."""
    if name == "derived":
        return f"{space}: searched"
    if re.fullmatch(r"random\d+", name):
        return f"{space}: at random"
    if name in ESPNET:
        return f"ESPnet's {name}"
    return f"by hand: {name}"


def spread(values: Sequence[float]) -> str:
    """The standard deviation, if there is one."""
    return f"{statistics.stdev(values):.2f}" if len(values) > 1 else "-"


def rows_of_kinds(runs: Sequence[Run]) -> list[tuple[object, ...]]:
    """Mean, standard deviation, best and worst of each kind, the best mean first."""
    kinds: dict[str, list[Trained]] = {}
    for run in runs:
        for name, encoder in run.encoders.items():
            kinds.setdefault(kind(name, run.space), []).append(encoder)
    table = []
    for name, encoders in kinds.items():
        rates = [encoder.wer for encoder in encoders]
        sizes = sorted({encoder.parameters for encoder in encoders} - {None})
        table.append(
            (
                *(name, len(rates), statistics.mean(rates), spread(rates)),
                *(f"{min(rates):.2f}", f"{max(rates):.2f}"),
                " to ".join(f"{n:,}" for n in dict.fromkeys(sizes[:1] + sizes[-1:])),
            )
        )
    table.sort(key=lambda row: row[2])
    return [(*row[:2], f"{row[2]:.2f}", *row[3:]) for row in table]


def rows_of_seeds(runs: Sequence[Run]) -> list[tuple[object, ...]]:
    """Each searched encoder beside the random ones of its space and seed."""
    table: list[tuple[object, ...]] = []
    for run in sorted(runs, key=lambda run: (run.space, run.seed)):
        searched = run.encoders["derived"].wer
        random = [e.wer for n, e in run.encoders.items() if n.startswith("random")]
        if random:
            table.append(
                (
                    *(run.space, run.seed, f"{searched:.2f}"),
                    *(f"{statistics.mean(random):.2f}", spread(random)),
                    f"{sum(wer < searched for wer in random)} of {len(random)}",
                )
            )
    return table


def main(cmd: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--work", type=Path, required=True, help="Directory for data and experiments")
    add("--spaces", nargs="+", default=["tdnn", "tdnn_wide"], choices=SPACES)
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--num_random", type=int, default=10, help="For each space and seed")
    add(
        "--baselines",
        nargs="+",
        default=KINDS,
        choices=KINDS,
        help="What to train beside the searched architectures; what was trained "
        "before is in the table, too",
    )
    add("--corpus", default="tts", choices=("tts", "fsdd"))
    add("--variant", default="clean", choices=("clean", "hard"))
    add("--fsdd_dir", type=Path, help="Local copy of the Free Spoken Digit Dataset")
    for name in ("train_minutes", "dev_minutes", "test_minutes"):
        add(f"--{name}", type=float, help="As in run.sh")
    add("--budget", default=BUDGET, help="See run.sh")
    add("--decoder", default="espnet", choices=("espnet", "lexicon"), help="See run.sh")
    add("--nj", type=int, help="As in run.sh")
    add("--search_args", default="", help="As in run.sh")
    add("--train_args", default="", help="As in run.sh")
    args = parser.parse_args(cmd)
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    runs = [
        Run(
            space,
            seed,
            trained_encoders(run_recipe(args, space, seed), args.decoder, args.budget),
        )
        for seed in args.seeds
        for space in args.spaces
    ]
    columns = ("encoder", "runs", "WER %", "sd", "best", "worst", "parameters")
    print(markdown_table(columns, rows_of_kinds(runs)))
    columns = ("space", "seed", "searched", "at random", "sd", "better at random")
    print("\n" + markdown_table(columns, rows_of_seeds(runs)))


if __name__ == "__main__":
    main()
