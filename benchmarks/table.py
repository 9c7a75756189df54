"""A tabular benchmark: many architectures of one space, each trained by itself.

    egs2/digits/asr_stnas1/run.sh --corpus fsdd --variant hard --stop_stage 1 \
        --dev_minutes 10 --test_minutes 30 --data DATA
    python benchmarks/table.py DATA --cache FEATURES.pt --output table.csv --jobs 2

Architectures are drawn from the space of the digits recipe, as many of each size (the
number of layers with the larger context). Each is trained with each seed. The CSV has a
row for each fifth of each training. Called again, it makes the rows that are missing.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Optional

import torch
from lab.corpus import read_corpus
from lab.model import Recogniser
from lab.options import corpus_parser
from lab.spaces import CANDIDATES, draw_paths, fixed
from lab.training import Settings, train
from tqdm import tqdm

from espnet_stnas.cost.counts import macs_table
from espnet_stnas.network.network import build_network

COLUMNS = (
    "corpus architecture seed step steps cpu_seconds parameters macs_per_second "
    "dev_loss dev_wer dev_cer test_loss test_wer test_cer"
).split()


class Job(NamedTuple):
    """One training."""

    data: Path
    cache: Path
    space: str
    architecture: tuple[int, ...]
    seed: int
    settings: Settings


def run(job: Job) -> list[dict[str, Any]]:
    """Train one architecture; return its rows."""
    torch.set_num_threads(1)
    corpus = read_corpus(job.data, job.cache)
    space = fixed(job.space, job.architecture)
    torch.manual_seed(job.seed)
    encoder = build_network(space, corpus.input_size)
    model = Recogniser(encoder, space.width, corpus)
    macs = macs_table(space, corpus.input_size, 100).fixed
    rows = []
    for point in train(model, corpus, job.settings, job.seed):
        values = [job.data.name, "".join(map(str, job.architecture)), job.seed]
        values += [point.step, job.settings.steps, round(point.seconds, 2)]
        values += [sum(p.numel() for p in encoder.parameters()), round(macs)]
        for quality in (point.dev, point.test):
            values += (
                ["", "", ""]
                if quality is None
                else [round(x, 4) for x in (quality.loss, quality.wer, quality.cer)]
            )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def missing(jobs: Sequence[Job], output: Path) -> Iterator[Job]:
    """Return the jobs whose last row is not in the file."""
    done = set()
    if output.exists():
        with output.open(newline="") as file:
            done = {
                (row["corpus"], row["architecture"], row["seed"])
                for row in csv.DictReader(file)
                if row["step"] == row["steps"]
            }
    for job in jobs:
        name = "".join(map(str, job.architecture))
        if (job.data.name, name, str(job.seed)) not in done:
            yield job


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Train what is missing."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--space", choices=tuple(CANDIDATES), default="tdnn")
    parser.add_argument("--per_size", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--jobs", type=int, default=1, help="Trainings at a time")
    args = parser.parse_args(cmd)
    read_corpus(args.data, args.cache)
    jobs = [
        Job(args.data, args.cache, args.space, path, seed, Settings(args.steps))
        for seed in range(args.seeds)
        for path in draw_paths(args.space, args.per_size)
    ]
    left = list(missing(jobs, args.output))
    new = not args.output.exists()
    with (
        args.output.open("a", newline="") as file,
        ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool,
    ):
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        tasks = [pool.submit(run, job) for job in left]
        for task in tqdm(as_completed(tasks), total=len(tasks), file=sys.stderr):
            writer.writerows(task.result())
            file.flush()


if __name__ == "__main__":
    main()
