"""SNAS: a random mixture of all candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union

import torch

from espnet_stnas.estimators.base import Estimator, Gate, gumbel, probabilities
from espnet_stnas.estimators.temperature import build_temperature


class SNAS(Estimator):
    """Output sum_k c_k o_k(x) with c = softmax((log pi + Gumbel noise) / tau).

    Xie et al. 2019 (arXiv:1812.09926), equation 4. Weights and logits both learn
    through the mixture; all K candidates run and are kept.

    Args:
        temperature: tau, a number or a schedule with the keys ``start``, ``end``,
            ``epochs`` and ``shape`` (:mod:`espnet_stnas.estimators.temperature`).

    Raises:
        ConfigError: If the temperature is not above 0 in every epoch.
    """

    def __init__(self, temperature: Union[float, Mapping[str, Any]] = 1.0) -> None:
        self.schedule = build_temperature(temperature)
        self.temperature = self.schedule.at(1)

    def start_epoch(self, epoch: int) -> None:
        """Follow the schedule."""
        self.temperature = self.schedule.at(epoch)

    def report(self) -> dict[str, float]:
        """The temperature."""
        return {"temperature": self.temperature}

    def architecture_gate(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> Gate:
        """A mixture of all candidates; see :class:`Estimator`."""
        noise = gumbel(logits, generator)
        # log pi and alpha differ by a constant, which the softmax does not see.
        c = probabilities((logits + noise) / self.temperature)
        return Gate(active=tuple(range(len(c))), coefficients=c)

    def weight_gate(self, logits: torch.Tensor, generator: torch.Generator) -> Gate:
        """The same with constant coefficients: weights learn through the mixture."""
        return self.architecture_gate(logits.detach(), generator)
