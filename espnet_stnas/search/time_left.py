"""How long a search will take from now on, and no second opinion on it."""

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

# Time of a weight step with one path: forward 1, backward 2. Fitted to the table of
# benchmarks/search_step.py in docs/estimators.md.
_WEIGHT_STEP, _FORWARD_AND_BACKWARD, _SCORE = 3.0, 1.6, 0.7
# The epoch before counts as much as this share of the present one.
_PRIOR = 0.1


class TimeLeft:
    """Estimates the rest of a search from the steps of an epoch and the one before.

    Steps of a warm-up take less than those of the search, and after its steps an epoch
    validates and writes. The curves of the epoch before tell about both, also after a
    resume. Before a search step has been timed, :func:`relative_time` stands in.

    Args:
        run: The search.
        epoch: The present epoch.
        steps: Its weight steps.
    """

    def __init__(self, run: SearchRun, epoch: int, steps: int) -> None:
        options = run.options
        self.steps = steps
        self.ratio = relative_time(run)
        warmup = not run.is_searching(epoch)
        # Epochs to come: like this one, and slower ones after the warm-up.
        last = min(options.warmup_epochs, options.max_epoch)
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
            # Checkpoints and whatever else ESPnet does between two epochs.
            self._after_steps += time.perf_counter() - run.validated_at

    def __call__(self, step: int, seconds: float) -> float:
        """Seconds until the search is done.

        Args:
            step: Steps of the epoch so far.
            seconds: What they took.
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
    """Roughly, the time of a step of the search relative to one of the warm-up.

    It goes by the candidates that run, or are scored, in the gates of a step.
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
        # Four gradients instead of one.
        architecture *= 4
    return mean([len(g.active) for g in weights]) + architecture / _WEIGHT_STEP


@contextmanager
def one_estimate() -> Iterator[None]:
    """Drop the estimate of ESPnet's log, which takes all epochs for equally long."""

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
