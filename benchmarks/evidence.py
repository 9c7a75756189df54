"""What a search gains at equal size: beside random encoders, the largest and ESPnet's.

    python benchmarks/evidence.py DATA --cache FEATURES.pt --output evidence.csv \
        --space tdnn --share 0.85 --searches 0 1 2 --seeds 0 1 2 --random 8

DATA is a corpus from stage 1 of the digits recipe, or in its form. All encoders but the
largest have as many parameters as a given share of the largest has, or a little fewer
(--tolerance).
All are trained alike, with the learning rate that suits their kind. Compared are

- searched: the most probable architecture of that size; the best by shared weights of
  the fifty most probable; the best by shared weights of random ones;
- random search with weight sharing: the same from a supernet without a search phase;
- random: architectures of that size;
- best of n random by dev loss, where n trainings take as long as a search;
- the largest architecture of the space, which is larger;
- ESPnet's conformer and E-Branchformer, with feed-forward layers that make them as
  large; as many updates, and as much time.

Called again, it trains what is missing. Prints means with 95 % intervals (Student's t
over searches, architectures or trainings) and the p-value of Welch's test against the
random ones.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Optional

import torch
from lab.corpus import Corpus, make_batches, read_corpus
from lab.encoders import RATES, of_size, parameters, seeded
from lab.options import corpus_parser
from lab.spaces import CANDIDATES, searched
from lab.supernet import Search, path_qualities, surprises, train_supernet
from lab.training import Settings, train
from measure import markdown_table
from scipy import stats
from tqdm import tqdm

from espnet_stnas.cost.counts import parameter_table

COLUMNS = (
    "corpus space kind search encoder seed steps parameters cpu_seconds dev_loss "
    "test_wer test_cer"
).split()
# How many of the most probable architectures, and how many random ones, are ranked by
# shared weights.
SHORTLIST = 50
RANKED = 300
ESPNET = ("conformer", "ebranchformer")
SEARCHED = {
    "probability": "most probable",
    "both": "best of the fifty most probable",
    "supernet": "best of 300 random ones by shared weights",
    "sharing": "the same after uniform paths only",
}


class Row(NamedTuple):
    """A trained encoder, or a search (without results)."""

    corpus: str
    space: str
    kind: str
    search: str
    encoder: str
    seed: str
    steps: str
    parameters: str
    cpu_seconds: str
    dev_loss: str = ""
    test_wer: str = ""
    test_cer: str = ""

    @property
    def unit(self) -> str:
        """What results of one kind are independent of."""
        if self.kind in SEARCHED:
            return self.search
        return self.encoder if self.kind == "random" else self.seed


class Work:
    """The experiment: finds what is done, and does the rest.

    Args:
        args: The options.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.corpus: Corpus = read_corpus(args.data, args.cache)
        self.space = searched(args.space, args.sharing)
        costs = parameter_table(self.space, self.corpus.input_size)
        self.budget = args.share * costs.maximum
        sizes = [len(choice.candidates) for choice in self.space.choices]
        self.inside = [
            path
            for path in itertools.product(*map(range, sizes))
            if (1 - args.tolerance) * self.budget <= costs.of(path) <= self.budget
        ]
        self.largest = tuple(c.index(max(c)) for c in costs.choices)
        self.rows: list[Row] = []
        if args.output.exists():
            with args.output.open(newline="") as file:
                self.rows = [Row(**row) for row in csv.DictReader(file)]

    def run(self) -> None:
        """Search and train all."""
        args = self.args
        # What comes later depends on what was found before.
        for kind, search, encoder, steps in tqdm(self._jobs(), file=sys.stderr):
            for seed in args.seeds:
                self._train(kind, search, encoder, seed, steps)

    def _jobs(self) -> Iterator[tuple[str, str, str, int]]:
        args, steps = self.args, self.args.steps
        for search in map(str, args.searches):
            for kind in SEARCHED:
                yield kind, search, self._found(kind, search), steps
        draws = random.Random(0)
        for path in draws.sample(self.inside, min(args.random, len(self.inside))):
            yield "random", "", self._name(path), steps
        yield "largest", "", self._name(self.largest), steps
        for name in ESPNET:
            yield name, "", of_size(name, self.corpus, self.budget), steps
        for name in ESPNET:
            ours = self._seconds("random") / args.steps
            theirs = self._seconds(name) / args.steps
            encoder = of_size(name, self.corpus, self.budget)
            yield f"{name}, equal time", "", encoder, round(steps * ours / theirs)

    def _name(self, path: Sequence[int]) -> str:
        return f"{self.args.space}:{''.join(map(str, path))}"

    def _seconds(self, kind: str) -> float:
        return statistics.mean(
            float(r.cpu_seconds) for r in self.rows if r.kind == kind
        )

    def _found(self, kind: str, search: str) -> str:
        """Return the architecture that a search finds."""
        for row in self.rows:
            if (row.kind, row.search) == (f"search: {kind}", search):
                return row.encoder
        args = self.args
        start = time.process_time()
        settings = Settings(args.search_steps, learning_rate=RATES[args.space])
        warmup = 1.0 if kind == "sharing" else args.warmup
        plan = Search(self.space, warmup=warmup, way=args.way, settings=settings)
        *_, (_, model) = train_supernet(plan, self.corpus, int(search), 1)
        trained = time.process_time() - start
        dev = make_batches(self.corpus.parts["dev"], 20000)

        def best(paths: Sequence[Sequence[int]]) -> Sequence[int]:
            losses = [q.loss for q in path_qualities(model, paths, dev)]
            return paths[losses.index(min(losses))]

        by_pi = [
            path
            for _, path in sorted(
                zip(surprises(model, self.inside), self.inside, strict=True)
            )
        ]
        some = random.Random(int(search)).sample(
            self.inside, min(RANKED, len(self.inside))
        )
        kinds = {
            "probability": lambda: by_pi[0],
            "both": lambda: best(by_pi[:SHORTLIST]),
            "supernet": lambda: best(some),
        }
        if kind == "sharing":
            kinds = {"sharing": lambda: best(some)}
        for name, choose in kinds.items():
            start = time.process_time()
            encoder = self._name(choose())
            seconds = trained + time.process_time() - start
            self._add(
                *(f"search: {name}", search, encoder, search, args.search_steps, 0),
                seconds,
            )
        return self._found(kind, search)

    def _train(
        self, kind: str, search: str, encoder: str, seed: int, steps: int
    ) -> None:
        """Train an encoder, unless that was done."""
        wanted = (kind, search, encoder, str(seed))
        if any((r.kind, r.search, r.encoder, r.seed) == wanted for r in self.rows):
            return
        # Found twice, it is trained once.
        for row in self.rows:
            if (row.encoder, row.seed, row.steps) == (encoder, str(seed), str(steps)):
                self._write(row._replace(kind=kind, search=search))
                return
        model = seeded(encoder, self.corpus, seed)
        rate = RATES[encoder.split(":")[0].split("@")[0]]
        settings = Settings(steps, learning_rate=rate)
        *_, last = train(model, self.corpus, settings, seed)
        assert last.test is not None
        values = [last.dev.loss, last.test.wer, last.test.cer]
        self._add(
            *(kind, search, encoder, seed, steps, parameters(model)),
            last.seconds,
            *(round(x, 4) for x in values),
        )

    def _add(
        self,
        kind: str,
        search: str,
        encoder: str,
        seed: object,
        steps: int,
        size: int,
        seconds: float,
        *results: float,
    ) -> None:
        values: list[Any] = [
            self.args.data.name,
            self.args.space,
            kind,
            search,
            encoder,
        ]
        values += [seed, steps, size, round(seconds, 2), *results]
        self._write(Row(*map(str, values)))

    def _write(self, row: Row) -> None:
        new = not self.args.output.exists()
        with self.args.output.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(COLUMNS)
            writer.writerow(row)
        self.rows.append(row)


def report(rows: Sequence[Row], metric: str) -> str:
    """Return the table of results."""
    units: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.test_wer:
            units[row.kind][row.unit].append(row)
    means = {
        kind: [
            statistics.mean(float(getattr(r, metric)) for r in trainings)
            for trainings in those.values()
        ]
        for kind, those in units.items()
    }
    searches = [r for r in rows if r.kind == "search: both"]
    lines = []
    for kind, values in means.items():
        trainings = [r for those in units[kind].values() for r in those]
        seconds = statistics.mean(float(r.cpu_seconds) for r in trainings)
        size = statistics.mean(float(r.parameters) for r in trainings)
        p = "-"
        if kind != "random" and len(values) > 1:
            test = stats.ttest_ind(values, means["random"], equal_var=False)
            p = f"{test.pvalue:.3f}"
        lines.append(
            [
                SEARCHED.get(kind, kind),
                f"{len(values)} x {len(trainings) // len(values)}",
                f"{size / 1000:.0f} k",
                f"{seconds:.0f}",
                _interval(values),
                p,
            ]
        )
    cost = statistics.mean(float(r.cpu_seconds) for r in searches)
    each = statistics.mean(
        float(r.cpu_seconds) for those in units["random"].values() for r in those
    )
    count = max(1, round(cost / each))
    best = _best_of(units["random"], count, metric)
    lines.append([f"best of {count} random by dev loss", "", "", "", best, "-"])
    header = ["encoder", "n", "parameters", "CPU s", metric, "p against random"]
    return (
        f"A search and its choice take {cost:.0f} CPU s, a training {each:.0f}.\n\n"
        + markdown_table(header, lines)
    )


def _interval(values: Sequence[float]) -> str:
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.1f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{mean:.1f} ± {half:.1f}"


def _best_of(units: dict[str, list[Row]], count: int, metric: str) -> str:
    """Return the mean over draws of so many random ones, the best of which is taken."""
    draws = random.Random(0)
    first = [trainings[0] for trainings in units.values()]
    found = []
    for _ in range(2000):
        best = min(draws.choices(first, k=count), key=lambda r: float(r.dev_loss))
        found += [float(getattr(r, metric)) for r in units[best.unit]]
    return f"{statistics.mean(found):.1f}"


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Search and train what is missing, and print."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--space", choices=tuple(CANDIDATES), default="tdnn")
    parser.add_argument("--share", type=float, default=0.85, help="Of the largest")
    parser.add_argument(
        "--tolerance", type=float, default=0.03, help="Of that share, how much smaller"
    )
    parser.add_argument("--sharing", choices=("kernel", "none"), default="kernel")
    parser.add_argument("--way", default="one")
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--searches", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--random", type=int, default=8)
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--search_steps", type=int, default=2 * Settings.steps)
    parser.add_argument(
        "--metric", choices=("test_wer", "test_cer"), default="test_wer"
    )
    args = parser.parse_args(cmd)
    torch.set_num_threads(1)
    work = Work(args)
    work.run()
    print(report(work.rows, args.metric))


if __name__ == "__main__":
    main()
