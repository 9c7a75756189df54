"""One elastic supernet against trainings of each size, with and without a teacher.

    python benchmarks/elastic.py DATA --cache FEATURES.pt --output elastic.csv \
        --steps 1080 --seeds 0 1 2

DATA is a corpus from stage 1 of the digits recipe, or in its form. The space has five
choices between two contexts and no layer, whose weights are shared (sharing: kernel).
Compared are five of its sizes

- trained alone;
- trained alone, with the largest, trained alone before, as the teacher;
- with the weights of one elastic supernet, which trains the largest, the smallest and a
  drawn one in each step, with four values of distill_weight; nothing is retrained.

All trainings have as many updates and the same learning rates. Called again, it trains
what is missing. Prints the means over the seeds, with the standard deviation between
trainings, and the CPU seconds of all sizes together (a teacher included).
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import torch
import torch.nn.functional as F
from lab.corpus import Batch, Corpus, make_batches, read_corpus
from lab.encoders import RATES, parameters
from lab.model import Quality, Recogniser, evaluate
from lab.options import corpus_parser
from lab.training import Point, Settings, train
from measure import markdown_table
from tqdm import tqdm

from espnet_stnas.estimators import build_estimator
from espnet_stnas.estimators.base import Gate
from espnet_stnas.host.distillation import distillation_loss
from espnet_stnas.network.network import build_network
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.supernet.supernet import build_supernet, path_generator

CANDIDATES = ["tdnn-C2D1", "tdnn-C1D1", "identity"]
# Candidate numbers, from the largest architecture to the smallest.
SIZES = ("00000", "01010", "11111", "21212", "22222")
COLUMNS = (
    "corpus kind size seed steps parameters cpu_seconds dev_loss test_wer test_cer"
).split()
WEIGHTS = (0.0, 0.2, 0.5, 1.0)
KINDS = {
    "alone": "trained alone",
    "distilled": "trained with the largest as teacher",
    **{
        f"elastic {w}": f"from an elastic supernet, distill_weight {w}" for w in WEIGHTS
    },
}


def space_of(choices: Sequence[Any]) -> SearchSpace:
    """Return the space, or an architecture of it.

    Args:
        choices: What stands at each of the five choices.
    """
    layers = ["tdnn-C1D1", *choices[:2], "tdnn-C1S3D1", *choices[2:]]
    conf = {"width": 64, "dropout_rate": 0.1, "residual": True, "layers": layers}
    if isinstance(choices[0], list):
        conf["sharing"] = "kernel"
    return SearchSpace.from_conf(conf)


def fixed(size: str, corpus: Corpus) -> Recogniser:
    """Build a recogniser of one size."""
    space = space_of([CANDIDATES[int(k)] for k in size])
    encoder = build_network(space, corpus.input_size)
    return Recogniser(encoder, space.output_width(corpus.input_size), corpus)


class Distilled(Recogniser):
    """A recogniser that learns from a teacher, too.

    Args:
        student: The recogniser.
        teacher: Knows what its frames should say.
        weight: The part of the loss that is the divergence from the teacher.
        corpus: Gives the characters.
    """

    def __init__(
        self, student: Recogniser, teacher: Recogniser, weight: float, corpus: Corpus
    ) -> None:
        super().__init__(student.encoder, student.output.in_features, corpus)
        self.output = student.output
        # In a list, so that its weights are not trained.
        self._teacher = [teacher.eval()]
        self._weight = weight

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the loss () of a batch."""
        with torch.no_grad():
            wanted, _ = self._teacher[0].log_probabilities(batch)
        log_p, olens = self.log_probabilities(batch)
        own = self.loss(log_p, olens, batch) / len(batch.lengths)
        soft = distillation_loss(log_p, wanted, olens)
        return (1 - self._weight) * own + self._weight * soft


class Elastic(Recogniser):
    """An elastic supernet; in evaluations it is one of its architectures.

    Args:
        corpus: Gives the input size and the characters.
        weight: The part of smaller paths' loss that is the divergence from the largest.
        seed: Seed of the drawn paths.
    """

    def __init__(self, corpus: Corpus, weight: float, seed: int) -> None:
        space = space_of([CANDIDATES] * len(SIZES[0]))
        supernet = build_supernet(space, corpus.input_size)
        super().__init__(supernet, space.output_width(corpus.input_size), corpus)
        self.supernet = supernet
        self.size = SIZES[0]
        self._uniform = build_estimator("uniform")
        self._weight, self._seed, self._step = weight, seed, 0

    def log_probabilities(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the log probabilities (B, T', V) of one size, and lengths (B,)."""
        return self._on([Gate((int(k),)) for k in self.size], batch)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the loss () of a batch: the mean over three paths."""
        self._step += 1
        draws = path_generator(self._seed, 1, self._step, "weights")
        drawn = self.supernet.weight_gates(self._uniform, draws)
        smallest = [Gate((int(k),)) for k in SIZES[-1]]
        teacher, olens = self.log_probabilities(batch)
        losses = [self.loss(teacher, olens, batch) / len(batch.lengths)]
        for gates in (smallest, drawn):
            log_p, _ = self._on(gates, batch)
            own = self.loss(log_p, olens, batch) / len(batch.lengths)
            soft = distillation_loss(log_p, teacher, olens)
            losses.append((1 - self._weight) * own + self._weight * soft)
        return torch.stack(losses).mean()

    def _on(
        self, gates: Sequence[Gate], batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with self.supernet.routed(gates):
            ys, olens = self.supernet(batch.frames, batch.lengths)
        return F.log_softmax(self.output(ys), dim=2), olens


class Row(NamedTuple):
    """One size, after a training."""

    corpus: str
    kind: str
    size: str
    seed: str
    steps: str
    parameters: str
    cpu_seconds: str
    dev_loss: str
    test_wer: str
    test_cer: str


class Work:
    """The experiment: finds what is done, and does the rest.

    Args:
        args: The options.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.corpus = read_corpus(args.data, args.cache)
        self.settings = Settings(args.steps, learning_rate=RATES["tdnn"])
        self.rows: list[Row] = []
        if args.output.exists():
            with args.output.open(newline="") as file:
                self.rows = [Row(**row) for row in csv.DictReader(file)]

    def run(self) -> None:
        """Train all."""
        jobs = [(seed, kind) for seed in self.args.seeds for kind in self.args.kinds]
        for seed, kind in tqdm(jobs, file=sys.stderr):
            if kind.startswith("elastic"):
                self._elastic(kind, float(kind.split()[1]), seed)
            elif kind == "alone":
                for size in SIZES:
                    if not self._has(kind, size, seed):
                        self._alone(size, seed)
            else:
                self._distilled(kind, seed)

    def _has(self, kind: str, size: str, seed: int) -> bool:
        wanted = (kind, size, str(seed), str(self.args.steps))
        return any((r.kind, r.size, r.seed, r.steps) == wanted for r in self.rows)

    def _alone(self, size: str, seed: int) -> Recogniser:
        model, last = self._trained(fixed_of(size, self.corpus, seed), seed)
        if not self._has("alone", size, seed):
            assert last.test is not None
            self._add("alone", size, seed, model, last.seconds, last.dev, last.test)
        return model

    def _distilled(self, kind: str, seed: int) -> None:
        missing = [s for s in SIZES[1:] if not self._has(kind, s, seed)]
        teacher = self._alone(SIZES[0], seed) if missing else None
        for size in missing:
            assert teacher is not None
            student = fixed_of(size, self.corpus, seed)
            weight = self.args.distill_weight
            model = Distilled(student, teacher, weight, self.corpus)
            model, last = self._trained(model, seed)
            assert last.test is not None
            self._add(kind, size, seed, model, last.seconds, last.dev, last.test)

    def _elastic(self, kind: str, weight: float, seed: int) -> None:
        missing = [size for size in SIZES if not self._has(kind, size, seed)]
        if not missing:
            return
        torch.manual_seed(seed)
        model, last = self._trained(Elastic(self.corpus, weight, seed), seed)
        assert isinstance(model, Elastic)
        dev, test = (
            make_batches(self.corpus.parts[part], 20000) for part in ("dev", "test")
        )
        for size in missing:
            model.size = size
            found = evaluate(model, dev), evaluate(model, test)
            own = fixed(size, self.corpus)
            self._add(kind, size, seed, own, last.seconds, *found)

    def _trained(self, model: Recogniser, seed: int) -> tuple[Recogniser, Point]:
        *_, last = train(model, self.corpus, self.settings, seed)
        return model, last

    def _add(
        self,
        kind: str,
        size: str,
        seed: int,
        model: Recogniser,
        seconds: float,
        dev: Quality,
        test: Quality,
    ) -> None:
        args = self.args
        values = [args.data.name, kind, size, seed, args.steps, parameters(model)]
        results = [round(x, 4) for x in (dev.loss, test.wer, test.cer)]
        row = Row(*map(str, [*values, round(seconds, 2), *results]))
        new = not args.output.exists()
        with args.output.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(COLUMNS)
            writer.writerow(row)
        self.rows.append(row)


def fixed_of(size: str, corpus: Corpus, seed: int) -> Recogniser:
    """Build a recogniser of one size whose weights depend on the seed alone."""
    torch.manual_seed(seed)
    return fixed(size, corpus)


def report(rows: Sequence[Row], metric: str) -> str:
    """Return the table of results."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    sizes = {row.size: f"{int(row.parameters) / 1000:.0f} k" for row in rows}
    for row in rows:
        found[row.kind][row.size].append(float(getattr(row, metric)))
        seconds[row.kind][row.size].append(float(row.cpu_seconds))
    lines = []
    for kind in (kind for kind in KINDS if kind in found):
        values = found[kind]
        each = {size: statistics.mean(v) for size, v in seconds[kind].items()}
        total = sum(each.values())
        if kind.startswith("elastic"):
            total = max(each.values())  # one training
        elif kind == "distilled":
            total += statistics.mean(seconds["alone"][SIZES[0]])
        cells = [_cell(values[size]) if size in values else "-" for size in SIZES]
        seeds = max(map(len, values.values()))
        lines.append([KINDS[kind], str(seeds), *cells, f"{total:.0f}"])
    names = [sizes[size] for size in SIZES if size in sizes]
    return markdown_table([metric, "n", *names, "CPU s of all"], lines)


def _cell(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.1f}"


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Train what is missing, and print."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--steps", type=int, default=1080)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--kinds", nargs="+", choices=tuple(KINDS), default=tuple(KINDS)
    )
    parser.add_argument(
        "--distill_weight", type=float, default=0.5, help="Of trainings with a teacher"
    )
    parser.add_argument(
        "--metric", choices=("test_wer", "test_cer", "dev_loss"), default="test_wer"
    )
    args = parser.parse_args(cmd)
    torch.set_num_threads(1)
    work = Work(args)
    work.run()
    rows = [row for row in work.rows if row.steps == str(args.steps)]
    print(report(rows, args.metric))


if __name__ == "__main__":
    main()
