"""Estimators against the exact architecture gradient of a real supernet.

    python benchmarks/estimator_facts.py DATA --cache FEATURES.pt --sharing none kernel
    python benchmarks/estimator_facts.py --search exp/search

Of a supernet of the laboratory (trained here; gradients on its development part) or of
a search (on its validation set), without dropout. The table has the cosine of an
estimator's expected step to the gradient, and the mean cosine of a single step; for
leave-one-out REINFORCE with 2, 4 and 8 paths in a step, too. Steps are drawn until the
standard error of the first cosine is below --error, or --most are drawn.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import torch
from lab.corpus import Batch, make_batches, read_corpus
from lab.gradients import GROUPS, Exact, Paths, Problem, Value, estimates, reinforced
from lab.model import Recogniser
from lab.spaces import CANDIDATES, searched
from lab.supernet import Search, train_supernet
from lab.training import Settings
from measure import markdown_table
from tqdm import tqdm

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.estimators import ESTIMATORS, build_estimator
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.inherit import weights_of_epoch
from espnet_stnas.selection.data import data_files
from espnet_stnas.supernet.paths import on_paths
from espnet_stnas.supernet.supernet import find_supernet

TOGETHER = (2, 4, 8)


class OfLaboratory:
    """A supernet of the laboratory; see :class:`lab.gradients.Problem`.

    Args:
        model: The trained recogniser.
        batches: What the losses are of.
    """

    def __init__(self, model: Recogniser, batches: Sequence[Batch]) -> None:
        self.model = model.eval()
        self.supernet = find_supernet(model)
        self.batches = batches
        self.count = len(batches)

    def losses(self, paths: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Return the loss of each path on each batch (P, B)."""
        columns = []
        for batch in tqdm(self.batches, file=sys.stderr, desc="paths"):

            def use(
                ys: torch.Tensor, olens: torch.Tensor, batch: Batch = batch
            ) -> float:
                log_p = self.model.output(ys).log_softmax(2)
                return float(self.model.losses(log_p, olens, batch).mean())

            columns.append(
                on_paths(self.supernet, paths, batch.frames, batch.lengths, use)
            )
        return torch.tensor(columns).T

    def loss(self, batch: int) -> torch.Tensor:
        """Return the loss () of one batch with the gates of the supernet."""
        return self.model(self.batches[batch])


class OfSearch:
    """The supernet of a search; see :class:`lab.gradients.Problem`.

    Args:
        path: Directory of the search.
        most: Batches of its validation set; None: all.
    """

    def __init__(self, path: Path, most: Optional[int]) -> None:
        # ESPnet takes seconds to import.
        from espnet_stnas.selection.scoring import PathScorer
        from espnet_stnas.selection.source import Source

        experiment = SearchExperiment.open(path)
        epoch = experiment.architecture().provenance.epoch
        assert epoch is not None
        file, weights = weights_of_epoch(experiment, epoch)
        source = Source(experiment, weights, file, "cpu")
        self.model = source.model
        self.scorer = PathScorer(source.model)
        self.supernet = self.scorer.supernet
        batches = source.batches(data_files(experiment, "valid"), most=most)
        self.batches = [self.scorer.prepare(batch) for batch in batches]
        self.count = len(self.batches)

    def losses(self, paths: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Return the loss of each path on each batch (P, B)."""
        columns = [
            [tally.loss / tally.utterances for tally in self.scorer.score(paths, b)]
            for b in tqdm(self.batches, file=sys.stderr, desc="paths")
        ]
        return torch.tensor(columns).T

    def loss(self, batch: int) -> torch.Tensor:
        """Return the loss () of one batch with the gates of the supernet."""
        found = self.model(**self.batches[batch].batch)
        return found["loss"] if isinstance(found, dict) else found[0]


def facts(problem: Problem, args: argparse.Namespace) -> str:
    """Return the facts about a supernet with its present logits, as Markdown."""
    exact = Exact(Paths(problem, args.paths, args.seed))
    others = Paths(problem, args.paths, args.seed + 1)
    rows: list[tuple[str, str, str, str]] = []
    for name in args.estimators:
        estimator = build_estimator(name)
        if estimator.learns:
            rows.append((name, *_measured(problem, exact, name, args)))
    for together in TOGETHER:
        steps = reinforced(others, together, args.most // GROUPS, args.seed)
        mean = exact.cosine(steps.mean(1))
        single = exact.cosine_of_steps(steps.flatten(0, 1))
        name = f"REINFORCE, {together} paths"
        rows.append((name, _text(mean), _text(single), str(steps[..., 0].numel())))
    share = exact.additive
    return "\n".join(
        [
            f"{args.paths} paths, {problem.count} batches. An additive model explains "
            f"{100 * share.value:.0f} ± {100 * share.error:.0f} % of the variance of "
            "the loss over paths. Standard error of the gradient, relative to its "
            f"norm: {exact.relative_error:.2f}.",
            "",
            markdown_table(
                ("estimator", "cosine of the mean", "of a single step", "steps"), rows
            ),
        ]
    )


def _measured(
    problem: Problem, exact: Exact, name: str, args: argparse.Namespace
) -> tuple[str, str, str]:
    rows: list[torch.Tensor] = []
    drawn = estimates(problem, build_estimator(name), args.seed)
    mean = Value(math.nan, math.inf)
    with tqdm(total=args.most, file=sys.stderr, desc=name) as bar:
        while len(rows) < args.most and not mean.error < args.error:
            # At least five steps in a group.
            for _ in range(5 * GROUPS):
                rows.append(next(drawn))
            bar.update(5 * GROUPS)
            steps = torch.stack(rows)
            mean = exact.cosine(steps.view(-1, GROUPS, steps.size(1)).mean(0))
    return _text(mean), _text(exact.cosine_of_steps(steps)), str(len(rows))


def _text(value: Value) -> str:
    return "-" if math.isnan(value.value + value.error) else str(value)


def problems(args: argparse.Namespace) -> Iterator[tuple[str, Problem]]:
    """Yield supernets with their names."""
    if args.search is not None:
        yield str(args.search), OfSearch(args.search, args.batches)
        return
    if args.data is None or args.cache is None:
        raise ConfigError("DATA and --cache are missing; accepted is --search as well")
    corpus = read_corpus(args.data, args.cache)
    dev = make_batches(corpus.parts["dev"], Settings().frames)[: args.batches]
    for sharing in args.sharing:
        search = Search(searched(args.space, sharing), settings=Settings(args.steps))
        for _, model in train_supernet(search, corpus, args.seed, 1):
            yield f"{args.space}, sharing {sharing}", OfLaboratory(model, dev)


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Print the facts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add: Any = parser.add_argument
    add("data", type=Path, nargs="?", help="Corpus, from stage 1 of the recipe")
    add("--cache", type=Path, help="File of features")
    add("--search", type=Path, help="Directory of a search, instead of a corpus")
    add("--space", choices=tuple(CANDIDATES), default="tdnn")
    add("--sharing", nargs="+", default=["none", "kernel"])
    add("--steps", type=int, default=360, help="Of the training of the supernet")
    add("--logits", nargs="+", choices=("even", "learnt"), default=["even", "learnt"])
    add("--paths", type=int, default=1000, help="As many for REINFORCE")
    add("--batches", type=int, help="Most batches (default: all)")
    add("--error", type=float, default=0.1, help="Standard error of a mean's cosine")
    add("--most", type=int, default=1000, help="Most steps of an estimator")
    add("--estimators", nargs="+", default=list(ESTIMATORS))
    add("--seed", type=int, default=0)
    args = parser.parse_args(cmd)
    torch.set_num_threads(1)
    with plain_errors():
        if args.paths % GROUPS or args.paths < GROUPS * max(TOGETHER):
            raise ConfigError(
                f"--paths is {args.paths}; accepted is a multiple of {GROUPS}, at "
                f"least {GROUPS * max(TOGETHER)}"
            )
        for name, problem in problems(args):
            learnt = [alpha.detach().clone() for alpha in problem.supernet.logits]
            for kind in args.logits:
                for alpha, value in zip(problem.supernet.logits, learnt, strict=True):
                    alpha.data.copy_(value if kind == "learnt" else value * 0)
                print(f"{name}, {kind} logits: {facts(problem, args)}\n", flush=True)


if __name__ == "__main__":
    main()
