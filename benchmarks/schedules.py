"""Learning rates and their schedules: the same sweep for every kind of encoder.

    python benchmarks/schedules.py DATA --cache FEATURES.pt --seeds 0 1 2

DATA is a corpus from stage 1 of the digits recipe. Prints the word error rate on the
test part (mean and standard deviation over seeds) of architectures of the recipe's
space and of ESPnet's conformer and E-Branchformer, for each schedule and rate.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, Optional

import torch
from lab.corpus import read_corpus
from lab.encoders import seeded
from lab.options import corpus_parser
from lab.training import Settings, train
from measure import markdown_table
from tqdm import tqdm

# The smallest of the time-delay space, one between, the largest; ESPnet's.
ENCODERS = ("tdnn:000000", "tdnn:221133", "tdnn:333333", "conformer", "ebranchformer")
SCHEDULES = ("constant", "cosine", "linear")


class Job(NamedTuple):
    """One training."""

    data: Path
    cache: Path
    encoder: str
    seed: int
    settings: Settings


def word_errors(job: Job) -> float:
    """Train; return the word error rate on the test part in percent."""
    torch.set_num_threads(1)
    corpus = read_corpus(job.data, job.cache)
    model = seeded(job.encoder, corpus, job.seed)
    *_, last = train(model, corpus, job.settings, job.seed)
    assert last.test is not None
    return last.test.wer


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Train all and print."""
    parser = corpus_parser(__doc__, table=False)
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
    parser.add_argument("--schedules", nargs="+", default=SCHEDULES)
    parser.add_argument("--rates", nargs="+", type=float, default=[4e-3])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--jobs", type=int, default=1, help="Trainings at a time")
    args = parser.parse_args(cmd)
    read_corpus(args.data, args.cache)
    ways = list(product(args.schedules, args.rates))
    jobs = [
        Job(
            *(args.data, args.cache, encoder, seed),
            Settings(args.steps, learning_rate=rate, schedule=schedule),
        )
        for (schedule, rate), encoder, seed in product(ways, args.encoders, args.seeds)
    ]
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        found = iter(
            list(tqdm(pool.map(word_errors, jobs), total=len(jobs), file=sys.stderr))
        )
    rows = []
    for schedule, rate in ways:
        cells = [[next(found) for _ in args.seeds] for _ in args.encoders]
        shown = [
            f"{statistics.mean(c):.1f} ± {statistics.pstdev(c):.1f}" for c in cells
        ]
        rows.append([schedule, f"{rate:g}", *shown])
    print(markdown_table(["schedule", "rate", *args.encoders], rows))


if __name__ == "__main__":
    main()
