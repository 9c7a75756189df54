"""Curves and a readable line for every log interval of a search."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Sized
from contextlib import ExitStack
from typing import Any, Optional

from espnet2.train.reporter import SubReporter, aggregate
from humanfriendly import format_timespan
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from espnet_stnas.cost.goal import CostTerm
from espnet_stnas.files import PathLike
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.certainty import entropy
from espnet_stnas.results.curves import CurvePoint, start_epoch, write_point
from espnet_stnas.search.cost import cost_report, cost_term
from espnet_stnas.search.options import SearchTrainerOptions
from espnet_stnas.supernet.supernet import Supernet

# One sign for each candidate: 1 is the first.
_SIGNS = "123456789abcdefghijklmnopqrstuvwxyz"


class StepLog:
    """Follows an epoch; a context in which a progress bar is shown on a terminal.

    Args:
        supernet: The supernet.
        cost: The cost term, if there is one.
        reporter: Where the losses of the steps are.
        epoch: The epoch, from 1.
        last: The last epoch of the search.
        warmup: Whether the logits do not learn in it.
        batches: Those of the weight steps of the epoch.
        interval: Steps from one line to the next; None: as ESPnet does.
        output_dir: That of the search.
    """

    def __init__(
        self,
        supernet: Supernet,
        cost: Optional[CostTerm],
        reporter: SubReporter,
        *,
        epoch: int,
        last: int,
        warmup: bool,
        batches: Sized,
        interval: Optional[int],
        output_dir: PathLike,
    ) -> None:
        self.supernet = supernet
        self.cost = cost
        self.reporter = reporter
        self.epoch = epoch
        self.last = last
        self.warmup = warmup
        self.steps = _length(batches)
        # Without an interval, as ESPnet does.
        self.interval = interval or (max(self.steps // 20, 10) if self.steps else 100)
        self.output_dir = output_dir
        start_epoch(output_dir, epoch)
        self._step = 0
        self._start = time.perf_counter()
        self._seen = 0
        self._stack = ExitStack()
        self._bar: Any = None

    def __enter__(self) -> StepLog:
        """Show a progress bar if standard error is a terminal."""
        # disable=None: not where nobody sees it move.
        bar = tqdm(
            total=self.steps or None,
            desc=f"epoch {self.epoch}/{self.last}",
            unit="step",
            disable=None,
            leave=False,
        )
        self._bar = self._stack.enter_context(bar)
        if not bar.disable:
            self._stack.enter_context(logging_redirect_tqdm())
        return self

    def __exit__(self, *_: Any) -> None:
        """Remove the progress bar."""
        self._stack.close()

    def __call__(self, step: int) -> None:
        """Follow a step that has been made.

        Args:
            step: Its number in the epoch, from 1.
        """
        self._step = step
        if self._bar is not None:
            self._bar.update()
        if step % self.interval == 0:
            self._write()

    def finish(self) -> None:
        """Follow the last steps of the epoch."""
        if self._seen < self.reporter.count:
            self._write()

    def _write(self) -> None:
        point = self._point(self._step)
        self._seen = self.reporter.count
        write_point(self.output_dir, point)
        logging.info(self.line(point))

    def line(self, point: CurvePoint) -> str:
        """What a person wants to know of a point."""
        phase = " (warm-up)" if point.warmup else ""
        parts = [f"loss {_number(point.loss)}"]
        if not point.warmup:
            if point.arch_loss is not None:
                parts.append(f"arch loss {_number(point.arch_loss)}")
            entropies = [entropy(pi) for pi in point.probabilities]
            parts.append(f"entropy {sum(entropies) / len(entropies):.3f}")
            parts.append(f"arg max {compact(point.probabilities)}")
        of = ""
        if point.steps:
            parts.append(f"{self._time_left(point)} left")
            of = f"/{point.steps}"
        where = f"epoch {point.epoch}/{self.last}{phase}, step {point.step}{of}"
        return f"{where}: {', '.join(parts)}"

    def _point(self, step: int) -> CurvePoint:
        return CurvePoint(
            epoch=self.epoch,
            step=step,
            steps=self.steps,
            warmup=self.warmup,
            loss=self._mean("loss"),
            arch_loss=self._mean("arch_loss"),
            temperature=self._mean("temperature"),
            seconds=round(time.perf_counter() - self._start, 3),
            probabilities=tuple(
                tuple(pi.tolist()) for pi in self.supernet.probabilities()
            ),
            **cost_report(self.supernet, self.cost),
        )

    def _mean(self, key: str) -> Optional[float]:
        """Of what was reported since the last point, as ESPnet aggregates it."""
        values = list(self.reporter.stats.get(key, ()))[self._seen :]
        if not values:
            return None
        with warnings.catch_warnings():
            # Of steps that did not report it, such as skipped ones.
            warnings.simplefilter("ignore", RuntimeWarning)
            mean = float(aggregate(values))
        return mean if math.isfinite(mean) else None

    def _time_left(self, point: CurvePoint) -> str:
        """By the steps of this epoch; those of a warm-up take less than later ones."""
        assert point.seconds is not None
        left = point.steps - point.step + (self.last - point.epoch) * point.steps
        return str(format_timespan(round(point.seconds / point.step * left)))


def step_log(
    supernet: Supernet,
    batches: Sized,
    reporter: SubReporter,
    options: SearchTrainerOptions,
) -> StepLog:
    """Begin to follow an epoch.

    Args:
        supernet: The supernet.
        batches: Those of its weight steps.
        reporter: Where the losses of the steps are.
        options: Options of the search.
    """
    epoch = reporter.get_epoch()
    if epoch == options.warmup_epochs + 1:
        logging.info(f"Signs of the arg max: {describe_signs(supernet.space)}")
    return StepLog(
        supernet,
        cost_term(supernet, options.cost_conf),
        reporter,
        epoch=epoch,
        last=options.max_epoch,
        warmup=epoch <= options.warmup_epochs,
        batches=batches,
        interval=options.log_interval,
        output_dir=options.output_dir,
    )


def compact(probabilities: tuple[tuple[float, ...], ...]) -> str:
    """The most probable candidate of every choice, a sign for each: 1 is the first."""
    best = (pi.index(max(pi)) for pi in probabilities)
    return "".join(_SIGNS[k] if k < len(_SIGNS) else "+" for k in best)


def describe_signs(space: SearchSpace) -> str:
    """Which candidates the signs of :func:`compact` stand for, in words."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for number, choice in zip(space.first_layers, space.choices, strict=True):
        names = tuple(str(op) for op in choice.candidates)
        groups.setdefault(names, []).append(str(number + 1))
    return "; ".join(
        f"layer {', '.join(layers)}: "
        + ", ".join(f"{sign} {name}" for sign, name in zip(_SIGNS, names, strict=False))
        for names, layers in groups.items()
    )


def _length(batches: Sized) -> int:
    """How many there are; 0 if ESPnet's iterator does not know."""
    try:
        return len(batches)
    except TypeError:
        return 0


def _number(value: Optional[float]) -> str:
    return "unknown" if value is None else f"{value:.4g}"
