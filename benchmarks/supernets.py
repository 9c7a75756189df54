"""What supernets say of the architectures in a table (benchmarks/table.py).

    python benchmarks/supernets.py DATA --cache FEATURES.pt --output supernets.csv \
        --sharing kernel none --steps 360 720 --seeds 0 1

Trains supernets of the table's space, one for each sharing, way, length and seed.
The CSV has, after each part of a training, for each architecture of the table with the
supernet's weights: the loss and the character error rate on the development part, and
-log pi. Called again, it
makes what is missing. benchmarks/ranking.py prints how well they rank.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple, Optional

import torch
from lab.corpus import make_batches, read_corpus
from lab.options import corpus_parser
from lab.spaces import CANDIDATES, draw_paths, searched
from lab.supernet import Search, path_qualities, surprises, train_supernet
from lab.training import Settings
from lab.ways import WAYS
from tqdm import tqdm

COLUMNS = (
    "corpus sharing way estimator warmup steps seed step cpu_seconds architecture "
    "dev_loss dev_cer surprise"
).split()


class Job(NamedTuple):
    """One supernet."""

    sharing: str
    way: str
    estimator: str
    warmup: float
    steps: int
    seed: int


def run(job: Job, args: argparse.Namespace) -> list[list[Any]]:
    """Train one supernet; return its rows."""
    corpus = read_corpus(args.data, args.cache)
    space = searched(args.space, job.sharing)
    paths = draw_paths(args.space, args.per_size)
    settings = Settings(job.steps, schedule=args.schedule)
    search = Search(space, job.estimator, job.warmup, way=job.way, settings=settings)
    dev = make_batches(corpus.parts["dev"], 20000)
    rows = []
    seconds, start = 0.0, time.process_time()
    for step, model in train_supernet(search, corpus, job.seed, args.parts):
        seconds += time.process_time() - start
        found = zip(
            paths,
            path_qualities(model, paths, dev),
            surprises(model, paths),
            strict=True,
        )
        for path, quality, surprise in found:
            numbers = [quality.loss, quality.cer, surprise]
            row = [
                args.data.name,
                *job,
                step,
                round(seconds, 2),
                "".join(map(str, path)),
            ]
            rows.append([*row, *(round(x, 4) for x in numbers)])
        start = time.process_time()
    return rows


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Train what is missing."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--space", choices=tuple(CANDIDATES), default="tdnn")
    parser.add_argument("--sharing", nargs="+", default=["kernel", "none"])
    parser.add_argument("--way", nargs="+", choices=tuple(WAYS), default=["one"])
    parser.add_argument("--estimator", nargs="+", default=["st"])
    parser.add_argument("--warmup", nargs="+", type=float, default=[0.5])
    parser.add_argument("--steps", nargs="+", type=int, default=[360])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--parts", type=int, default=2)
    parser.add_argument("--per_size", type=int, default=16, help="As in the table")
    parser.add_argument(
        "--schedule",
        choices=("linear", "constant"),
        default="linear",
        help="Of the learning rate; it is no column, so give each a CSV of its own",
    )
    args = parser.parse_args(cmd)
    torch.set_num_threads(1)
    done = set()
    if args.output.exists():
        with args.output.open(newline="") as file:
            done = {tuple(row[c] for c in COLUMNS[:7]) for row in csv.DictReader(file)}
    jobs = [
        Job(*values)
        for values in product(
            args.sharing,
            args.way,
            args.estimator,
            args.warmup,
            args.steps,
            args.seeds,
        )
    ]
    left = [j for j in jobs if (args.data.name, *map(str, j)) not in done]
    for job in tqdm(left, file=sys.stderr):
        rows = run(job, args)
        new = not args.output.exists()
        with args.output.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(COLUMNS)
            writer.writerows(rows)


if __name__ == "__main__":
    main()
