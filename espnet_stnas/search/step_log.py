"""Writes a curve point and a readable line for every log interval of a search."""

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

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.certainty import entropy
from espnet_stnas.results.curves import CurvePoint, start_epoch, write_point
from espnet_stnas.search.cost import cost_report
from espnet_stnas.search.state import SearchRun
from espnet_stnas.search.time_left import TimeLeft

# One character for each candidate: 1 is the first.
_SIGNS = "123456789abcdefghijklmnopqrstuvwxyz"


class StepLog:
    """Follows the steps of an epoch; as a context, it shows a progress bar.

    Args:
        run: The search.
        reporter: Contains the losses of the steps.
        batches: Batches of the weight steps of the epoch.
    """

    def __init__(self, run: SearchRun, reporter: SubReporter, batches: Sized) -> None:
        self.run = run
        self.reporter = reporter
        self.epoch = reporter.get_epoch()
        self.last = run.options.max_epoch
        self.steps = _length(batches)
        # ESPnet's default interval.
        usual = max(self.steps // 20, 10) if self.steps else 100
        self.interval = run.options.log_interval or usual
        self._time_left = TimeLeft(run, self.epoch, self.steps)
        start_epoch(run.options.output_dir, self.epoch)
        run.epoch_started = time.perf_counter()
        self._step = 0
        self._seen = 0
        self._stack = ExitStack()
        self._bar: Any = None

    def __enter__(self) -> StepLog:
        """Show a progress bar if standard error is a terminal."""
        # disable=None: show the bar on a terminal only.
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
        """Record a finished step.

        Args:
            step: Number of the step in the epoch, from 1.
        """
        self._step = step
        if self._bar is not None:
            self._bar.update()
        if step % self.interval == 0:
            self._write()

    def finish(self) -> None:
        """Record the last steps of the epoch."""
        if self._seen < self.reporter.count:
            self._write()

    def _write(self) -> None:
        point = self._point(self._step)
        self._seen = self.reporter.count
        write_point(self.run.options.output_dir, point)
        if not point.warmup and not self.run.told_signs:
            # Once in every run, so also after a resume.
            self.run.told_signs = True
            signs = describe_signs(self.run.supernet.space)
            logging.info(f"Signs of the arg max: {signs}")
        logging.info(self.line(point))

    def line(self, point: CurvePoint) -> str:
        """Format a curve point as a line for the log."""
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
            assert point.seconds is not None
            left = self._time_left(point.step, point.seconds)
            parts.append(f"{format_timespan(round(left), max_units=2)} left")
            of = f"/{point.steps}"
        where = f"epoch {point.epoch}/{self.last}{phase}, step {point.step}{of}"
        return f"{where}: {', '.join(parts)}"

    def _point(self, step: int) -> CurvePoint:
        run = self.run
        return CurvePoint(
            epoch=self.epoch,
            step=step,
            steps=self.steps,
            warmup=not run.is_searching(self.epoch),
            loss=self._mean("loss"),
            arch_loss=self._mean("arch_loss"),
            temperature=self._mean("temperature"),
            seconds=round(time.perf_counter() - run.epoch_started, 3),
            probabilities=tuple(
                tuple(pi.tolist()) for pi in run.supernet.probabilities()
            ),
            **cost_report(run.supernet, run.cost),
        )

    def _mean(self, key: str) -> Optional[float]:
        """Return the mean of the values since the last point, as ESPnet does."""
        values = list(self.reporter.stats.get(key, ()))[self._seen :]
        if not values:
            return None
        with warnings.catch_warnings():
            # Some steps do not report it, such as skipped ones.
            warnings.simplefilter("ignore", RuntimeWarning)
            mean = float(aggregate(values))
        return mean if math.isfinite(mean) else None


def compact(probabilities: tuple[tuple[float, ...], ...]) -> str:
    """Return one character per choice for its most probable candidate (1: first)."""
    best = (pi.index(max(pi)) for pi in probabilities)
    return "".join(_SIGNS[k] if k < len(_SIGNS) else "+" for k in best)


def describe_signs(space: SearchSpace) -> str:
    """Describe the candidates that the characters of :func:`compact` stand for."""
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
    """Return the number of batches; 0 if ESPnet's iterator has no length."""
    try:
        return len(batches)
    except TypeError:
        return 0


def _number(value: Optional[float]) -> str:
    return "unknown" if value is None else f"{value:.4g}"
