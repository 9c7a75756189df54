"""Error against look-ahead, from one search.

    python benchmarks/lookahead.py DATA --cache FEATURES.pt --output lookahead.csv \
        --figure lookahead.png --budgets 0 60 120 240 480 --seeds 0 1 2 --random 4

DATA is a corpus from stage 1 of the digits recipe, or in its form. All encoders of the
space `causal` of the laboratory have equally many parameters: kernels of five frames,
which differ in how many of these come after the present frame, and in their dilation.
Of one supernet, for each budget of look-ahead, the best by shared weights is taken of
the fifty most probable architectures within the budget and as many random ones. It is
trained, and so are random architectures that look ahead as far, give or take a quarter.

Called again, it trains what is missing. Prints means with 95 % intervals, and draws
them: Student's t over the seeds of what the search found, or over the random
architectures, each the mean of its seeds.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import torch
from lab.corpus import Corpus, make_batches, read_corpus
from lab.encoders import RATES, seeded
from lab.options import corpus_parser
from lab.spaces import CANDIDATES, CHOICES, searched
from lab.supernet import Search, path_qualities, surprises, train_supernet
from lab.training import Settings, train
from measure import markdown_table
from scipy import stats
from tqdm import tqdm

from espnet_stnas.cost.lookahead import look_ahead_table
from espnet_stnas.report.drawing import COLOURS, new_figure, save_figure

SPACE = "causal"
RANKED = 50
COLUMNS = "kind budget encoder look_ahead seed dev_loss test_wer test_cer".split()


class Row(NamedTuple):
    """A trained encoder, or what the search found (without seed and results)."""

    kind: str
    budget: str
    encoder: str
    look_ahead: str
    seed: str = ""
    dev_loss: str = ""
    test_wer: str = ""
    test_cer: str = ""


class Table:
    """The CSV with all rows.

    Args:
        path: The file; it is made if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path.exists():
            with path.open(newline="") as file:
                self.rows = [Row(**row) for row in csv.DictReader(file)]

    def add(self, row: Row) -> None:
        """Add a row."""
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(COLUMNS)
            writer.writerow(row)
        self.rows.append(row)


def look_aheads() -> dict[tuple[int, ...], float]:
    """Return all paths of the space, and their look-ahead in ms."""
    table = look_ahead_table(searched(SPACE, "kernel"))
    numbers = range(len(CANDIDATES[SPACE]))
    # Without chunks, look-ahead adds up; one by one, this would take a minute.
    return {
        path: table.fixed + sum(c[k] for c, k in zip(table.choices, path, strict=True))
        for path in itertools.product(numbers, repeat=CHOICES[SPACE])
    }


def search(
    args: argparse.Namespace,
    corpus: Corpus,
    table: Table,
    paths: dict[tuple[int, ...], float],
) -> None:
    """Train the supernet, and add what it finds for each budget."""
    settings = Settings(args.search_steps, learning_rate=RATES[SPACE])
    plan = Search(searched(SPACE, "kernel"), warmup=args.warmup, settings=settings)
    *_, (_, model) = train_supernet(plan, corpus, 0, 1)
    dev = make_batches(corpus.parts["dev"], 20000)
    draws = random.Random(0)
    for budget in tqdm(args.budgets, file=sys.stderr):
        inside = [path for path, ahead in paths.items() if ahead <= budget]
        ranked = sorted(zip(surprises(model, inside), inside, strict=True))
        some = [path for _, path in ranked[:RANKED]]
        some += draws.sample(inside, min(RANKED, len(inside)))
        losses = [quality.loss for quality in path_qualities(model, some, dev)]
        best = some[losses.index(min(losses))]
        table.add(Row("searched", f"{budget:g}", _name(best), f"{paths[best]:g}"))


def add_random(
    args: argparse.Namespace, table: Table, paths: dict[tuple[int, ...], float]
) -> None:
    """Add random architectures for each budget."""
    draws = random.Random(1)
    for budget in args.budgets:
        alike = [p for p, a in paths.items() if 0.75 * budget <= a <= budget]
        for path in draws.sample(alike, min(args.random, len(alike))):
            table.add(Row("random", f"{budget:g}", _name(path), f"{paths[path]:g}"))


def train_missing(args: argparse.Namespace, corpus: Corpus, table: Table) -> None:
    """Train what was chosen with all seeds."""
    done = {(row.encoder, row.seed): row for row in table.rows if row.seed}
    jobs = [
        (row, str(seed)) for row in table.rows if not row.seed for seed in args.seeds
    ]
    settings = Settings(args.steps, learning_rate=RATES[SPACE])
    have = {(r.kind, r.budget, r.encoder, r.seed) for r in table.rows}
    for row, seed in tqdm(jobs, file=sys.stderr):
        if (row.kind, row.budget, row.encoder, seed) in have:
            continue
        known = done.get((row.encoder, seed))
        if known is None:  # chosen twice, it is trained once
            model = seeded(row.encoder, corpus, int(seed))
            *_, last = train(model, corpus, settings, int(seed))
            assert last.test is not None
            found = (last.dev.loss, last.test.wer, last.test.cer)
            results = [f"{x:.4f}" for x in found]
        else:
            results = [known.dev_loss, known.test_wer, known.test_cer]
        table.add(Row(*row[:4], seed, *results))
        done[row.encoder, seed] = table.rows[-1]


def _name(path: Sequence[int]) -> str:
    return f"{SPACE}:{''.join(map(str, path))}"


class Mean(NamedTuple):
    """The mean error of one kind within one budget."""

    kind: str
    budget: float
    look_ahead: float
    count: int
    error: float
    half: float


def means(rows: Sequence[Row], metric: str) -> list[Mean]:
    """Return means and half 95 % intervals; 0 where there is one training only."""
    groups: dict[tuple[str, float], list[Row]] = defaultdict(list)
    for row in rows:
        if row.seed:
            groups[row.kind, float(row.budget)].append(row)
    found = []
    for (kind, budget), own in sorted(groups.items()):
        units: dict[str, list[float]] = defaultdict(list)
        for row in own:
            unit = row.seed if kind == "searched" else row.encoder
            units[unit].append(float(getattr(row, metric)))
        errors = [statistics.mean(values) for values in units.values()]
        half = 0.0
        if len(errors) > 1:
            half = float(stats.t.ppf(0.975, len(errors) - 1) * stats.sem(errors))
        ahead = statistics.mean(float(row.look_ahead) for row in own)
        found.append(Mean(kind, budget, ahead, len(own), statistics.mean(errors), half))
    return found


def draw(found: Sequence[Mean], metric: str, path: Path) -> None:
    """Draw errors against look-ahead."""
    figure = new_figure(5.0, 3.2)
    axis = figure.subplots()
    for number, kind in enumerate(("searched", "random")):
        own = [mean for mean in found if mean.kind == kind]
        axis.errorbar(
            [mean.look_ahead for mean in own],
            [mean.error for mean in own],
            yerr=[mean.half for mean in own],
            color=COLOURS[number],
            marker="os"[number],
            linestyle="-" if kind == "searched" else ":",
            capsize=3,
            label=kind,
        )
    axis.set_xlabel("look-ahead of the encoder, ms")
    axis.set_ylabel(
        {"test_wer": "word errors, %", "test_cer": "character errors, %"}[metric]
    )
    axis.grid(color="0.85", linewidth=0.6)
    axis.legend(frameon=False)
    save_figure(figure, path)


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Search and train what is missing, print and draw."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--figure", type=Path, help="Figure to draw, such as a PNG")
    parser.add_argument(
        "--budgets", nargs="+", type=float, default=[0, 60, 120, 240, 480], help="In ms"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--random", type=int, default=4, help="For each budget")
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--search_steps", type=int, default=2 * Settings.steps)
    parser.add_argument(
        "--metric", choices=("test_wer", "test_cer"), default="test_wer"
    )
    args = parser.parse_args(cmd)
    torch.set_num_threads(1)
    corpus = read_corpus(args.data, args.cache)
    table, paths = Table(args.output), look_aheads()
    if not any(row.kind == "searched" for row in table.rows):
        search(args, corpus, table, paths)
    if not any(row.kind == "random" for row in table.rows):
        add_random(args, table, paths)
    train_missing(args, corpus, table)
    found = means(table.rows, args.metric)
    header = ["encoders", "budget, ms", "look-ahead, ms", "trainings", args.metric]
    lines = [
        [
            *(m.kind, f"{m.budget:g}", f"{m.look_ahead:.0f}", str(m.count)),
            f"{m.error:.1f} ± {m.half:.1f}" if m.half else f"{m.error:.1f}",
        ]
        for m in found
    ]
    print(markdown_table(header, lines))
    if args.figure is not None:
        draw(found, args.metric, args.figure)


if __name__ == "__main__":
    main()
