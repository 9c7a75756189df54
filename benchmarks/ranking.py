"""How well supernets rank architectures, against trainings of each by itself.

    python benchmarks/ranking.py table.csv supernets.csv [--metric test_wer]

The first CSV is from benchmarks/table.py, the second from benchmarks/supernets.py. For
each supernet and point of its training, this prints Kendall's tau and Spearman's rho
between the loss with shared weights (also: -log pi, the number of parameters) and the
mean result of the table over its seeds, with bootstrap intervals over architectures.
Beside them: tau among architectures of one size (mean over sizes), the regret of the
best ten (how much worse the best of them is than the best of the table), and the mean
gain of the ten over all architectures. The ceiling is the agreement of the table's
seeds with each other: no ranking can agree better with one of them.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
from measure import markdown_table
from scipy.stats import kendalltau, spearmanr

TOP = 10
BOOTSTRAPS = 1000

Values = Mapping[str, float]


class Truth(NamedTuple):
    """The table: results of architectures that were trained by themselves.

    Args:
        by_seed: For each seed, the result of each architecture (lower is better).
        mean: Mean over the seeds, of architectures that have all of them.
        sizes: Parameters of each architecture.
        macs: Multiply-accumulate operations of each.
    """

    by_seed: dict[str, dict[str, float]]
    mean: dict[str, float]
    sizes: dict[str, float]
    macs: dict[str, float]


def read_truth(path: Path, metric: str) -> Truth:
    """Read the last rows of all trainings."""
    by_seed: dict[str, dict[str, float]] = defaultdict(dict)
    sizes, macs = {}, {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["step"] == row["steps"]:
                name = row["architecture"]
                by_seed[row["seed"]][name] = float(row[metric])
                sizes[name] = float(row["parameters"])
                macs[name] = float(row["macs_per_second"])
    complete = set.intersection(*(set(values) for values in by_seed.values()))
    mean = {
        name: statistics.mean(values[name] for values in by_seed.values())
        for name in sorted(complete)
    }
    return Truth(dict(by_seed), mean, sizes, macs)


def read_supernets(path: Path) -> Iterator[tuple[tuple[str, ...], Values, Values]]:
    """Read name, losses and -log pi of each supernet at each point."""
    keys = ("sharing", "estimator", "warmup", "steps", "step", "seed")
    losses: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    surprises: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            name = tuple(row[key] for key in keys)
            losses[name][row["architecture"]] = float(row["dev_loss"])
            surprises[name][row["architecture"]] = float(row["surprise"])
    for name in losses:
        yield name, losses[name], surprises[name]


def row(label: str, scores: Values, truth: Truth) -> list[str]:
    """Return a row of the table for scores of architectures (lower is better)."""
    names = [name for name in truth.mean if name in scores]
    found = np.array([scores[name] for name in names])
    wanted = np.array([truth.mean[name] for name in names])
    if np.ptp(found) == 0:
        return [label, str(len(names)), *["-"] * 5]
    draws = np.random.default_rng(0).integers(len(names), size=(BOOTSTRAPS, len(names)))
    taus = [kendalltau(found[d], wanted[d]).statistic for d in draws]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    best = np.argsort(found, kind="stable")[:TOP]
    return [
        label,
        str(len(names)),
        f"{kendalltau(found, wanted).statistic:.2f} ({low:.2f} to {high:.2f})",
        f"{spearmanr(found, wanted).statistic:.2f}",
        _within_sizes(names, found, wanted, truth.sizes),
        f"{wanted[best].min() - wanted.min():.1f}",
        f"{100 * (1 - wanted[best].mean() / wanted.mean()):.0f} %",
    ]


def _within_sizes(
    names: Sequence[str], found: np.ndarray, wanted: np.ndarray, sizes: Values
) -> str:
    """Return the mean of tau over groups of architectures of equal size."""
    taus = []
    for size in {sizes[name] for name in names}:
        group = [i for i, name in enumerate(names) if sizes[name] == size]
        if len(group) > 3 and np.ptp(found[group]) > 0:
            taus.append(kendalltau(found[group], wanted[group]).statistic)
    return f"{np.mean(taus):.2f}" if taus else "-"


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("supernets", type=Path, nargs="?")
    parser.add_argument("--metric", default="test_wer", help="Column of the table")
    args = parser.parse_args(cmd)
    truth = read_truth(args.table, args.metric)
    values = list(truth.mean.values())
    print(
        f"{len(values)} architectures, {len(truth.by_seed)} seeds, {args.metric}: "
        f"mean {np.mean(values):.1f}, standard deviation over architectures "
        f"{np.std(values):.1f}, best {min(values):.1f}, worst {max(values):.1f}\n"
    )
    rows = []
    if len(truth.by_seed) > 1:
        first, *others = truth.by_seed.values()
        alone = Truth({}, {n: others[0][n] for n in truth.mean}, truth.sizes, {})
        rows.append(row("ceiling: seed against seed", first, alone))
    rows.append(row("parameters, more is better", _negative(truth.sizes), truth))
    rows.append(row("MACs, more is better", _negative(truth.macs), truth))
    for name, losses, surprises in (
        [] if args.supernets is None else read_supernets(args.supernets)
    ):
        sharing, estimator, warmup, steps, step, seed = name
        label = (
            f"sharing {sharing}, {estimator}, {steps} steps (warm-up {warmup}), seed "
            f"{seed}, at step {step}"
        )
        rows.append(row(f"{label}: loss", losses, truth))
        rows.append(row(f"{label}: -log pi", surprises, truth))
    header = ["ranking", "n", "Kendall's tau", "rho", "tau in a size", "regret", "gain"]
    print(markdown_table(header, rows))


def _negative(values: Values) -> dict[str, float]:
    return {name: -value for name, value in values.items()}


if __name__ == "__main__":
    main()
