"""Trainings of fixed encoders, equal in everything but the encoder."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

import torch

from lab.corpus import Corpus, endless, make_batches
from lab.model import Quality, Recogniser, evaluate

# Parts of a training after which its quality is measured.
PARTS = 5


@dataclass(frozen=True)
class Settings:
    """How an encoder is trained: Adam, with clipped gradients.

    Args:
        steps: Updates of the weights.
        frames: Most frames of a batch, with padding.
        learning_rate: Highest learning rate.
        warmup: Share of the steps in which the rate rises.
        max_norm: Maximum norm of a gradient.
        schedule: ``linear`` (rises, then falls to zero), ``cosine`` (falls to zero from
            the start, in steps of an epoch, as ESPnet's CosineAnnealingLR does) or
            ``constant`` (rises, then stays).
    """

    steps: int = 360
    frames: int = 5000
    learning_rate: float = 4e-3
    warmup: float = 0.1
    max_norm: float = 5.0
    schedule: str = "linear"

    def rate(self, step: int, epoch: int) -> float:
        """Return the learning rate of a step, from 0.

        Args:
            step: The step.
            epoch: Steps of an epoch.
        """
        if self.schedule == "cosine":
            done = step // epoch * epoch / self.steps
            return self.learning_rate * (1 + math.cos(math.pi * done)) / 2
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * (self.steps - step) / (self.steps - rising)


@dataclass(frozen=True)
class Point:
    """An encoder after a part of its training.

    Args:
        step: Steps so far.
        seconds: CPU seconds of training so far, without evaluations.
        dev: Quality on the development part.
        test: Quality on the test part, at the end of the training only.
    """

    step: int
    seconds: float
    dev: Quality
    test: Optional[Quality]


def train(
    model: Recogniser, corpus: Corpus, settings: Settings, seed: int
) -> Iterator[Point]:
    """Train a recogniser and measure it after each fifth of the training.

    Args:
        model: The recogniser, changed in place.
        corpus: Trains it and measures it.
        settings: The training.
        seed: Order of the batches, and dropout.
    """
    torch.manual_seed(seed)
    batches = make_batches(corpus.parts["train"], settings.frames)
    dev, test = (make_batches(corpus.parts[p], 20000) for p in ("dev", "test"))
    optimizer = torch.optim.Adam(model.parameters())
    seconds = 0.0
    model.train()
    for step, batch in zip(range(settings.steps), endless(batches, seed), strict=False):
        start = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step, len(batches))
        optimizer.zero_grad()
        model(batch).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_norm)
        if math.isfinite(float(norm)):
            optimizer.step()
        seconds += time.process_time() - start
        if (step + 1) * PARTS % settings.steps < PARTS:
            last = step + 1 == settings.steps
            yield Point(
                step + 1,
                seconds,
                evaluate(model, dev),
                evaluate(model, test) if last else None,
            )
