"""One search for all sizes, beside one search for each weight of the cost.

    python benchmarks/front.py DATA --cache FEATURES.pt --output front.csv

DATA is a corpus from stage 1 of the digits recipe. With each seed, one supernet is
searched without a cost, and some architectures are measured with its shared weights:
the best of each size are its front, as ``stnas select --front params,loss`` finds it.
Beside it, one search for each weight of the number of parameters in the loss of the
logits finds its most probable architecture, as many tools do. All that were found are
trained by themselves. Called again, this does what is missing.

Prints the CPU seconds of the searches, and the hypervolume between the smallest and the
largest size and up to 100 % errors: what share of this box is beaten by some
architecture that was found. More is better.
"""

from __future__ import annotations

import argparse
import csv
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import torch
from lab.corpus import Corpus, make_batches, read_corpus
from lab.encoders import RATES, seeded
from lab.options import corpus_parser
from lab.spaces import searched
from lab.supernet import Search, path_qualities, surprises, train_supernet
from lab.training import Settings, train
from measure import markdown_table

from espnet_stnas.cost.counts import parameter_table
from espnet_stnas.report.drawing import COLOURS, new_figure, save_figure
from espnet_stnas.selection.evolution import hypervolume
from espnet_stnas.selection.paths import all_paths

ONE = "one search, front by shared weights"
EACH = "a search for each weight"


class Row(NamedTuple):
    """An architecture that a search found; its results are those of one training."""

    way: str
    weight: float
    search: int
    search_seconds: float
    path: str
    parameters: int
    seed: int
    test_wer: float


def found_by(
    corpus: Corpus, weight: Optional[float], seed: int, steps: int, measured: int
) -> tuple[float, list[str]]:
    """Search; return the CPU seconds, and the architectures that were found.

    Args:
        corpus: The corpus.
        weight: Weight of the cost; None: the front of a search without a cost.
        seed: Seed of the search.
        steps: Its steps.
        measured: Architectures to measure for the front.
    """
    space = searched("tdnn", "none")
    start = time.process_time()
    settings = Settings(steps, learning_rate=RATES["tdnn"])
    plan = Search(space, settings=settings, cost_weight=weight or 0.0)
    *_, (_, model) = train_supernet(plan, corpus, seed, 1)
    paths = all_paths(space)
    if weight is None:
        some = random.Random(seed).sample(paths, measured)
        dev = make_batches(corpus.parts["dev"], 20000)
        losses = [q.loss for q in path_qualities(model, some, dev)]
        sizes = parameter_table(space, corpus.input_size)
        best: list[str] = []
        lowest = float("inf")
        order = zip(map(sizes.of, some), losses, some, strict=True)
        for _, loss, path in sorted(order):
            if loss < lowest:
                lowest = loss
                # Of one size, the last is the best.
                if best and sizes.of(tuple(map(int, best[-1]))) == sizes.of(path):
                    best.pop()
                best.append("".join(map(str, path)))
        found = best
    else:
        by_pi = surprises(model, paths)
        found = ["".join(map(str, paths[by_pi.index(min(by_pi))]))]
    return time.process_time() - start, found


def groups_of(
    args: argparse.Namespace, corpus: Corpus, known: Sequence[Row]
) -> Iterator[list[Row]]:
    """Search and train what is missing; yield the rows of each search."""
    sizes = parameter_table(searched("tdnn", "none"), corpus.input_size)
    results = {(r.path, r.seed): r.test_wer for r in known}
    done = {(r.way, r.weight, r.search) for r in known}
    for search in args.searches:
        for weight in (None, *args.weights):
            key = (ONE if weight is None else EACH, weight or 0.0, search)
            if key in done:
                continue
            seconds, paths = found_by(
                corpus, weight, search, args.search_steps, args.measured
            )
            rows = []
            for path in paths:
                size = round(sizes.of(tuple(map(int, path))))
                for seed in args.seeds:
                    if (path, seed) not in results:
                        results[path, seed] = trained(path, corpus, seed, args.steps)
                    wer = results[path, seed]
                    rows.append(Row(*key, round(seconds, 1), path, size, seed, wer))
            yield rows


def trained(path: str, corpus: Corpus, seed: int, steps: int) -> float:
    """Train an architecture; return its word error rate in percent."""
    model = seeded(f"tdnn:{path}", corpus, seed)
    settings = Settings(steps, learning_rate=RATES["tdnn"])
    *_, last = train(model, corpus, settings, seed)
    assert last.test is not None
    return round(last.test.wer, 4)


def means_of(rows: Sequence[Row], way: str, search: int) -> list[tuple[int, float]]:
    """Return size and mean error rate of what a way found with a seed, by size."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if (row.way, row.search) == (way, search):
            found.setdefault(row.path, []).append(row)
    return sorted(
        (some[0].parameters, statistics.mean(r.test_wer for r in some))
        for some in found.values()
    )


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw what both ways found, a line for each seed of the search.

    Args:
        rows: The trainings.
        path: File to write.
    """
    figure = new_figure(6.4, 3.6)
    axis = figure.add_subplot()
    looks = {
        ONE: {"color": COLOURS[0], "marker": "o", "linestyle": "-"},
        EACH: {"color": COLOURS[1], "marker": "s", "linestyle": ":"},
    }
    for way, look in looks.items():
        for search in sorted({r.search for r in rows if r.way == way}):
            sizes, errors = zip(*means_of(rows, way, search), strict=True)
            label = None if search else way
            axis.plot([s / 1000 for s in sizes], errors, label=label, **look)
    axis.set_xlabel("parameters of the encoder, in thousands")
    axis.set_ylabel("word errors of trained encoders, %")
    axis.grid(color="0.9", linewidth=0.6)
    axis.legend(frameon=False)
    save_figure(figure, path)


def report(rows: Sequence[Row], least: int, most: int) -> str:
    """Return both tables."""
    table, points = [], []
    for way in (ONE, EACH):
        volumes, times, counts = [], [], []
        for search in sorted({r.search for r in rows if r.way == way}):
            own = [r for r in rows if (r.way, r.search) == (way, search)]
            means = means_of(rows, way, search)
            shares = [((n - least) / (most - least), w / 100) for n, w in means]
            volumes.append(100 * hypervolume(shares, (1.0001, 1.0)))
            times.append(sum(dict((r.weight, r.search_seconds) for r in own).values()))
            counts.append(len(means))
            texts = (f"{n / 1000:.0f} k: {w:.1f}" for n, w in means)
            points.append([way, str(search), ", ".join(texts)])
        table.append(
            [
                way,
                f"{statistics.mean(times):.0f}",
                f"{statistics.mean(counts):.1f}",
                ", ".join(f"{v:.1f}" for v in volumes),
            ]
        )
    header = ["way", "CPU s", "different sizes", "hypervolume %, by seed"]
    return "\n".join(
        [
            markdown_table(header, table),
            markdown_table(["way", "seed", "parameters: WER %"], points),
        ]
    )


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Do what is missing, and print."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--weights", nargs="+", type=float, default=[0, 10, 20, 40, 80])
    parser.add_argument("--searches", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--search_steps", type=int, default=3 * Settings.steps)
    parser.add_argument("--measured", type=int, default=500)
    parser.add_argument("--figure", type=Path, help="File to draw both ways in")
    args = parser.parse_args(cmd)
    torch.set_num_threads(1)
    corpus = read_corpus(args.data, args.cache)
    rows = read_rows(args.output)
    new = not rows
    with args.output.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(Row._fields)
        for group in groups_of(args, corpus, tuple(rows)):
            rows += group
            writer.writerows(group)
            file.flush()
            print(*group, sep="\n", file=sys.stderr)
    sizes = parameter_table(searched("tdnn", "none"), corpus.input_size)
    print(report(rows, round(sizes.minimum), round(sizes.maximum)))
    if args.figure is not None:
        draw(rows, args.figure)


def read_rows(path: Path) -> list[Row]:
    """Read what was done before."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Row(
                *(r["way"], float(r["weight"]), int(r["search"])),
                *(float(r["search_seconds"]), r["path"], int(r["parameters"])),
                *(int(r["seed"]), float(r["test_wer"])),
            )
            for r in csv.DictReader(file)
        ]


if __name__ == "__main__":
    main()
