"""What supernets say of the architectures in a table (benchmarks/table.py).

    python benchmarks/supernets.py DATA --cache FEATURES.pt --output supernets.csv \
        --sharing kernel none --steps 360 720 --seeds 0 1

Trains supernets of the table's space, one for each sharing, number of steps and seed.
The CSV has, after each part of a training, the loss on the development part of each
architecture of the table with the supernet's weights, and -log pi. Called again, it
makes what is missing. benchmarks/ranking.py prints how well they rank.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Optional

import torch
from lab.corpus import make_batches, read_corpus
from lab.supernet import Search, path_losses, surprises, train_supernet
from lab.training import Settings
from table import CANDIDATES, CHOICES, draw_architectures, space_of
from tqdm import tqdm

COLUMNS = (
    "corpus sharing estimator warmup steps seed step cpu_seconds architecture "
    "dev_loss surprise"
).split()


class Job(NamedTuple):
    """One supernet."""

    sharing: str
    estimator: str
    warmup: float
    steps: int
    seed: int


def run(
    job: Job, data: Path, cache: Path, names: Sequence[str], parts: int
) -> list[list[Any]]:
    """Train one supernet; return its rows."""
    corpus = read_corpus(data, cache)
    space = replace(space_of([list(CANDIDATES)] * CHOICES), sharing=job.sharing)
    search = Search(space, job.estimator, job.warmup, settings=Settings(job.steps))
    paths = [[int(c) for c in name] for name in names]
    dev = make_batches(corpus.parts["dev"], 20000)
    rows = []
    seconds, start = 0.0, time.process_time()
    for step, model in train_supernet(search, corpus, job.seed, parts):
        seconds += time.process_time() - start
        values = zip(
            names, path_losses(model, paths, dev), surprises(model, paths), strict=True
        )
        rows += [
            [data.name, *job, step, round(seconds, 2), n, round(x, 4), round(y, 4)]
            for n, x, y in values
        ]
        start = time.process_time()
    return rows


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="Corpus, from stage 1 of the recipe")
    parser.add_argument("--cache", type=Path, required=True, help="File of features")
    parser.add_argument("--output", type=Path, required=True, help="CSV to add rows to")
    parser.add_argument("--sharing", nargs="+", default=["kernel", "none"])
    parser.add_argument("--estimator", nargs="+", default=["st"])
    parser.add_argument("--warmup", nargs="+", type=float, default=[0.5])
    parser.add_argument("--steps", nargs="+", type=int, default=[360])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--parts", type=int, default=2)
    parser.add_argument("--per_size", type=int, default=16, help="As in the table")
    args = parser.parse_args(cmd)
    torch.set_num_threads(1)
    names = ["".join(map(str, a)) for a in draw_architectures(args.per_size)]
    done = set()
    if args.output.exists():
        with args.output.open(newline="") as file:
            done = {tuple(row[c] for c in COLUMNS[:6]) for row in csv.DictReader(file)}
    jobs = [
        Job(*values)
        for values in product(
            args.sharing, args.estimator, args.warmup, args.steps, args.seeds
        )
    ]
    left = [j for j in jobs if (args.data.name, *map(str, j)) not in done]
    for job in tqdm(left, file=sys.stderr):
        rows = run(job, args.data, args.cache, names, args.parts)
        new = not args.output.exists()
        with args.output.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(COLUMNS)
            writer.writerows(rows)


if __name__ == "__main__":
    main()
