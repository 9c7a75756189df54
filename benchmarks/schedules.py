"""What a learning rate that decays gains: schedules on the same architectures.

    python benchmarks/schedules.py DATA --cache FEATURES.pt --seeds 0 1 2

DATA is a corpus from stage 1 of the digits recipe. Prints the word error rate on the
test part, and its standard deviation over seeds, for some architectures of the recipe's
space.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Optional

from lab.corpus import read_corpus
from lab.training import Settings
from measure import markdown_table
from table import Job, run
from tqdm import tqdm

SCHEDULES = ("constant", "cosine", "linear")
# The smallest, one between, the largest.
ARCHITECTURES = ((0,) * 6, (2, 2, 1, 1, 3, 3), (3,) * 6)


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Train all and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="Corpus, from stage 1 of the recipe")
    parser.add_argument("--cache", type=Path, required=True, help="File of features")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--jobs", type=int, default=1, help="Trainings at a time")
    args = parser.parse_args(cmd)
    read_corpus(args.data, args.cache)
    jobs = [
        Job(
            *(args.data, args.cache, "tdnn", architecture, seed),
            Settings(args.steps, schedule=s),
        )
        for seed, architecture, s in product(args.seeds, ARCHITECTURES, SCHEDULES)
    ]
    found: dict[tuple[str, tuple[int, ...]], list[float]] = defaultdict(list)
    with ProcessPoolExecutor(args.jobs) as pool:
        results = tqdm(pool.map(run, jobs), total=len(jobs), file=sys.stderr)
        for job, rows in zip(jobs, results, strict=True):
            wer = rows[-1]["test_wer"]
            found[job.settings.schedule, job.architecture].append(wer)
    rows_of_table = []
    for schedule in SCHEDULES:
        cells = [found[schedule, a] for a in ARCHITECTURES]
        shown = [
            f"{statistics.mean(c):.1f} ± {statistics.pstdev(c):.1f}" for c in cells
        ]
        mean = statistics.mean(x for c in cells for x in c)
        rows_of_table.append([schedule, *shown, f"{mean:.1f}"])
    names = ["".join(map(str, a)) for a in ARCHITECTURES]
    print(markdown_table(["schedule", *names, "mean"], rows_of_table))


if __name__ == "__main__":
    main()
