"""Estimates the remaining time of a search, instead of ESPnet's own estimate."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

import torch

from espnet_stnas.estimators import build_estimator
from espnet_stnas.results.curves import CurvePoint, read_epoch
from espnet_stnas.search.state import SearchRun

# Relative times: in a weight step with one path, forward takes 1 and backward 2. Fitted
# to the table of benchmarks/search_step.py in docs/estimators.md.
_WEIGHT_STEP, _FORWARD_AND_BACKWARD, _SCORE = 3.0, 1.6, 0.7
# The previous epoch has the weight of this share of the present epoch.
_PRIOR = 0.1


class TimeLeft:
    """Estimates the remaining time from the present and the previous epoch.

    Steps of a warm-up are faster than steps of the search, and an epoch ends with
    validation and files. The curves of the previous epoch give both times, also after a
    resume. Until a search step has been timed, :func:`relative_time` gives its time.

    Args:
        run: The search.
        epoch: The present epoch.
        steps: Its number of weight steps.
    """

    def __init__(self, run: SearchRun, epoch: int, steps: int) -> None:
        options = run.options
        self.steps = steps
        self.ratio = relative_time(run)
        warmup = not run.is_searching(epoch)
        # The epochs to come: some like this one, and slower ones after the warm-up.
        last = min(run.warmup.last, options.max_epoch)
        self._like_this = (last if warmup else options.max_epoch) - epoch
        self._slower = options.max_epoch - epoch - self._like_this
        before = read_epoch(options.output_dir, epoch - 1)
        trained = _last(before, valid=False)
        validated = _last(before, valid=True)
        self._before: Optional[float] = None
        self._after_steps = 0.0
        if trained is not None and trained.seconds is not None and trained.step:
            self._before = trained.seconds / trained.step
            if trained.warmup and not warmup:
                self._before *= self.ratio
            if validated is not None and validated.seconds is not None:
                self._after_steps = max(0.0, validated.seconds - trained.seconds)
        if run.validated_at is not None:
            # The time for checkpoints and other work of ESPnet between two epochs.
            self._after_steps += time.perf_counter() - run.validated_at

    def __call__(self, step: int, seconds: float) -> float:
        """Return the seconds until the end of the search.

        Args:
            step: Number of finished steps of the epoch.
            seconds: Time that they took.
        """
        known = 0.0 if self._before is None else _PRIOR * self.steps
        per_step = (seconds + known * (self._before or 0.0)) / (step + known)
        train = per_step * self.steps
        return (
            per_step * (self.steps - step)
            + self._after_steps * (1 + self._like_this + self._slower)
            + train * (self._like_this + self.ratio * self._slower)
        )


def _last(points: list[CurvePoint], *, valid: bool) -> Optional[CurvePoint]:
    found = [p for p in points if (p.valid_loss is not None) == valid]
    return found[-1] if found else None


def relative_time(run: SearchRun) -> float:
    """Estimate the time of a search step relative to a warm-up step.

    The estimate counts the candidates that run or are scored in the gates of a step.
    """
    options = run.options
    estimator = build_estimator(options.estimator, options.estimator_conf)
    if not estimator.learns:
        return 1.0
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        gates = run.supernet.architecture_gates(estimator, draws)
    weights = run.supernet.weight_gates(estimator, draws)

    def mean(of: list[int]) -> float:
        return sum(of) / len(of)

    scored = _SCORE * mean([len(g.scored) for g in gates])
    if options.arch_data == "joint":
        return mean([len(g.active) for g in gates]) + scored / _WEIGHT_STEP
    architecture = _FORWARD_AND_BACKWARD * mean([len(g.active) for g in gates]) + scored
    if estimator.needs_weight_batch:
        # Such a step needs four gradients instead of one.
        architecture *= 4
    return mean([len(g.active) for g in weights]) + architecture / _WEIGHT_STEP


@contextmanager
def one_estimate() -> Iterator[None]:
    """Remove ESPnet's own estimate from the log; it expects equal epochs."""

    def without(record: logging.LogRecord) -> bool:
        if isinstance(record.msg, str) and "epoch started. Estimated" in record.msg:
            record.msg = record.msg.partition(" Estimated")[0]
        return True

    root = logging.getLogger()
    root.addFilter(without)
    try:
        yield
    finally:
        root.removeFilter(without)
