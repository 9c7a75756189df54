"""How well supernets rank architectures, against trainings of each by itself.

    python benchmarks/ranking.py table.csv supernets.csv [--metric test_wer]

The first CSV is from benchmarks/table.py, the second from benchmarks/supernets.py. For
each supernet and point of its training, this prints Kendall's tau and Spearman's rho
between the loss with shared weights (also: -log pi, the number of parameters) and the
mean result of the table over its seeds, with bootstrap intervals over architectures.
Supernets that differ in their seed alone are one row, with the mean of their values.
Beside tau: tau among architectures of one size (mean over sizes), the regret of the
best ten (how much worse the best of them is than the best of the table), and the mean
gain of the ten over all architectures. The ceiling is the agreement of the table's
seeds with each other: no ranking can agree better with one of them.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional, TextIO

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


def opened(path: Path) -> TextIO:
    """Open a table, which may be compressed by gzip."""
    return gzip.open(path, "rt") if path.suffix == ".gz" else path.open(newline="")


def read_truth(path: Path, metric: str) -> Truth:
    """Read the last rows of all trainings."""
    by_seed: dict[str, dict[str, float]] = defaultdict(dict)
    sizes, macs = {}, {}
    with opened(path) as file:
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


class Paths(NamedTuple):
    """What a supernet says of architectures, and what a search would see of it.

    Args:
        losses: Loss of each architecture with the supernet's weights.
        surprises: -log pi of each.
        cer: Mean character error rate in percent.
    """

    losses: dict[str, float]
    surprises: dict[str, float]
    cer: float

    @property
    def agreement(self) -> str:
        """Kendall's tau between the two rankings, as the guard of a search has it."""
        names = list(self.losses)
        surprises = [self.surprises[name] for name in names]
        if len(set(surprises)) == 1:
            return "-"
        losses = [self.losses[name] for name in names]
        return f"{kendalltau(surprises, losses).statistic:.2f}"


def read_supernets(path: Path) -> dict[tuple[str, ...], list[Paths]]:
    """Read what supernets say at each point of their training.

    Returns:
        For each kind of supernet and step, what each seed says.
    """
    keys = ("sharing", "way", "estimator", "warmup", "steps", "step")
    losses: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    surprises: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    errors: dict[tuple[str, ...], list[float]] = defaultdict(list)
    with opened(path) as file:
        for row in csv.DictReader(file):
            name = (*(row[key] for key in keys), row["seed"])
            losses[name][row["architecture"]] = float(row["dev_loss"])
            surprises[name][row["architecture"]] = float(row["surprise"])
            errors[name].append(float(row["dev_cer"]))
    found: dict[tuple[str, ...], list[Paths]] = defaultdict(list)
    for name in losses:
        cer = statistics.mean(errors[name])
        found[name[:-1]].append(Paths(losses[name], surprises[name], cer))
    return found


def row(label: str, seeds: Sequence[Values], truth: Truth) -> list[str]:
    """Return a row of the table.

    Args:
        label: What ranks.
        seeds: Scores of architectures (lower is better) by each seed.
        truth: What they should agree with.
    """
    names = [name for name in truth.mean if name in seeds[0]]
    wanted = np.array([truth.mean[name] for name in names])
    scores = [np.array([values[name] for name in names]) for values in seeds]
    if any(np.ptp(found) == 0 for found in scores):
        return [label, f"{len(seeds)} x {len(names)}", *["-"] * 5]
    draws = np.random.default_rng(0).integers(len(names), size=(BOOTSTRAPS, len(names)))
    taus = [
        np.mean([kendalltau(found[d], wanted[d]).statistic for found in scores])
        for d in draws
    ]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    best = [np.argsort(found, kind="stable")[:TOP] for found in scores]
    tau = np.mean([kendalltau(found, wanted).statistic for found in scores])
    rho = np.mean([spearmanr(found, wanted).statistic for found in scores])
    regret = np.mean([wanted[b].min() - wanted.min() for b in best])
    gain = np.mean([1 - wanted[b].mean() / wanted.mean() for b in best])
    return [
        label,
        f"{len(seeds)} x {len(names)}",
        f"{tau:.2f} ({low:.2f} to {high:.2f})",
        f"{rho:.2f}",
        _within_sizes(names, scores, wanted, truth.sizes),
        f"{regret:.1f}",
        f"{100 * gain:.0f} %",
    ]


def _within_sizes(
    names: Sequence[str],
    scores: Sequence[np.ndarray],
    wanted: np.ndarray,
    sizes: Values,
) -> str:
    """Return the mean of tau over groups of architectures of equal size."""
    taus = []
    for size in {sizes[name] for name in names}:
        group = [i for i, name in enumerate(names) if sizes[name] == size]
        for found in scores:
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
        rows.append(row("ceiling: seed against seed", [first], alone))
    rows.append(row("parameters, more is better", [_negative(truth.sizes)], truth))
    rows.append(row("MACs, more is better", [_negative(truth.macs)], truth))
    supernets = {} if args.supernets is None else read_supernets(args.supernets)
    for (sharing, way, estimator, warmup, steps, step), seeds in supernets.items():
        label = f"{sharing}, {way}, {estimator}, {steps} steps, warm-up {warmup}"
        label += f", at {step}"
        seen = f"{statistics.mean(s.cer for s in seeds):.0f} %"
        agreement = "/".join(s.agreement for s in seeds)
        losses = row(f"{label}: loss", [s.losses for s in seeds], truth)
        rows.append([*losses, seen, agreement])
        if float(warmup) * int(steps) < int(step):
            surprises = row(f"{label}: -log pi", [s.surprises for s in seeds], truth)
            rows.append([*surprises, "", ""])
    header = ["ranking", "seeds x n", "Kendall's tau", "rho", "tau in a size"]
    header += ["regret", "gain", "CER of paths", "logits against loss"]
    print(markdown_table(header, [[*r, *[""] * (len(header) - len(r))] for r in rows]))


def _negative(values: Values) -> dict[str, float]:
    return {name: -value for name, value in values.items()}


if __name__ == "__main__":
    main()
