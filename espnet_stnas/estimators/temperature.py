"""Temperatures that depend on the epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators.base import Estimator

SHAPES = ("linear", "exponential", "cosine")
KEYS = ("start", "end", "epochs", "shape")


@dataclass(frozen=True)
class Temperature:
    """A temperature that moves from one value to another and then stays there.

    Args:
        start: Value in epoch 1 of the search.
        end: Value from epoch ``epochs`` on.
        epochs: Number of epochs from ``start`` to ``end``, two or more.
        shape: ``exponential`` (equal ratios per epoch), ``linear`` (equal
            differences) or ``cosine`` (slow at both ends).

    >>> Temperature(start=4.0, end=1.0, epochs=3, shape="exponential").at(2)
    2.0
    """

    start: float
    end: float
    epochs: int = 2
    shape: str = "exponential"

    def at(self, epoch: int) -> float:
        """Return the temperature in an epoch of the search (1: first after warm-up)."""
        if epoch >= self.epochs or self.start == self.end:
            return self.end
        way = max(epoch - 1, 0) / (self.epochs - 1)
        if self.shape == "exponential":
            return math.exp((1 - way) * math.log(self.start) + way * math.log(self.end))
        if self.shape == "cosine":
            way = (1 - math.cos(math.pi * way)) / 2
        return (1 - way) * self.start + way * self.end


class Annealed(Estimator):
    """Adds a temperature to an estimator.

    Args:
        temperature: tau, a number or a schedule with the keys ``start``, ``end``,
            ``epochs`` and ``shape`` (:class:`Temperature`).
        options: Options of the other base class, if there is one.

    Raises:
        ConfigError: If the temperature is not above 0 in every epoch, or another
            option is wrong.
    """

    def __init__(
        self, temperature: Union[float, Mapping[str, Any]] = 1.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.schedule = build_temperature(temperature)
        self.temperature = self.schedule.at(1)

    def start_epoch(self, epoch: int) -> None:
        """Set the temperature of the epoch."""
        self.temperature = self.schedule.at(epoch)

    def report(self) -> dict[str, float]:
        """Return the temperature."""
        return {"temperature": self.temperature}


def build_temperature(value: Union[float, Mapping[str, Any]]) -> Temperature:
    """Build a temperature from a number or from the mapping of a schedule.

    Raises:
        ConfigError: If the value is neither, or not above 0 in every epoch.
    """
    where = "estimator_conf: temperature"
    if not isinstance(value, Mapping):
        constant = _positive(value, where)
        return Temperature(constant, constant)
    for key in value:
        if key not in KEYS:
            raise ConfigError(
                f"{where} has no key '{key}'; accepted are: {', '.join(KEYS)}"
            )
    missing = [key for key in KEYS[:3] if key not in value]
    if missing:
        raise ConfigError(
            f"{where} lacks {', '.join(missing)}; a schedule needs start, end and "
            "epochs"
        )
    epochs, shape = value["epochs"], value.get("shape", "exponential")
    if type(epochs) is not int or epochs < 2:
        raise ConfigError(
            f"{where}: epochs is {epochs!r}; accepted is an integer of 2 or more (a "
            "temperature that stays is a number)"
        )
    if shape not in SHAPES:
        raise ConfigError(
            f"{where}: shape is {shape!r}; accepted are: {', '.join(SHAPES)}"
        )
    return Temperature(
        _positive(value["start"], f"{where}: start"),
        _positive(value["end"], f"{where}: end"),
        epochs,
        shape,
    )


def _positive(value: Any, where: str) -> float:
    number = isinstance(value, (int, float)) and type(value) is not bool
    if not number or not 0.0 < value < math.inf:
        raise ConfigError(
            f"{where} is {value!r}; accepted is a number above 0 (a softmax divides by "
            "it)"
        )
    return float(value)
