"""Straight-through Gumbel-softmax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union

import torch

from espnet_stnas.estimators.base import gumbel
from espnet_stnas.estimators.st import StraightThrough
from espnet_stnas.estimators.temperature import build_temperature


class GumbelStraightThrough(StraightThrough):
    """Arg-max of alpha + Gumbel noise forward, softmax((alpha + noise) / tau) backward.

    Jang et al. 2017 (arXiv:1611.01144), section 2.2. The path is distributed as pi.

    Args:
        temperature: tau, a number or a schedule with the keys ``start``, ``end``,
            ``epochs`` and ``shape`` (:mod:`espnet_stnas.estimators.temperature`).
        sampling: See :class:`SampledPath`.

    Raises:
        ConfigError: If an option is out of range or has no effect.
    """

    def __init__(
        self, temperature: Union[float, Mapping[str, Any]] = 1.0, **sampling: Any
    ) -> None:
        super().__init__(**sampling)
        self.schedule = build_temperature(temperature)
        self.temperature = self.schedule.at(1)

    def start_epoch(self, epoch: int) -> None:
        """Follow the schedule."""
        self.temperature = self.schedule.at(epoch)

    def report(self) -> dict[str, float]:
        """The temperature."""
        return {"temperature": self.temperature}

    def draw(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, int]:
        """Perturbed logits (K,), divided by the temperature, and their arg-max."""
        perturbed = logits + gumbel(logits, generator)
        return perturbed / self.temperature, int(perturbed.argmax())
