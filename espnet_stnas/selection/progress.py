"""How far a training of ESPnet is, and how good it was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.messages import one_line

CHECKPOINT = "checkpoint.pth"
# Parts of the state of a module that are no parameters.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Progress:
    """What the checkpoint of a training says.

    Args:
        epochs: Number of finished epochs.
        seconds: Time of these epochs, without start-up.
        criterion: Name of the validation measure that decides, such as ``loss``.
        more_is_better: Whether it is to be large.
        values: Its value in each epoch.
        encoder_parameters: Parameters of the encoder.
    """

    epochs: int = 0
    seconds: float = 0.0
    criterion: str = "loss"
    more_is_better: bool = False
    values: Mapping[int, float] = field(default_factory=dict)
    encoder_parameters: Optional[int] = None

    def best(self, last: int) -> float:
        """Return the best value of the first epochs.

        Args:
            last: The last epoch that counts.

        Returns:
            The value; NaN if none of them is finite.
        """
        known = [v for e, v in self.values.items() if e <= last and math.isfinite(v)]
        if not known:
            return math.nan
        return max(known) if self.more_is_better else min(known)

    def badness(self, last: int) -> float:
        """Return a number that is the smaller, the better the first epochs were.

        Args:
            last: The last epoch that counts.
        """
        value = self.best(last)
        if math.isnan(value):
            return math.inf
        return -value if self.more_is_better else value


def read_progress(directory: Path) -> Progress:
    """Read the checkpoint of a training.

    Args:
        directory: Directory of the training.

    Returns:
        Its progress; no epochs if there is no checkpoint.

    Raises:
        ConfigError: If the checkpoint is damaged.
    """
    file = directory / CHECKPOINT
    if not file.exists():
        return Progress()
    try:
        # Of the weights, only what is asked for is read.
        states = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        stats: dict[int, Any] = states["reporter"]["stats"]
        encoder = sum(
            value.numel()
            for name, value in states["model"].items()
            if name.startswith("encoder.") and not name.endswith(_STATISTICS)
        )
        times = [part["time"] for epoch in stats.values() for part in epoch.values()]
        name, more = _criterion(directory, stats)
        return Progress(
            epochs=int(states["reporter"]["epoch"]),
            seconds=sum(map(_seconds, times)),
            criterion=name,
            more_is_better=more,
            values={
                e: float(parts["valid"].get(name, math.nan))
                for e, parts in stats.items()
            },
            encoder_parameters=encoder,
        )
    except ConfigError:
        raise
    except Exception as error:  # torch raises many kinds
        raise ConfigError(
            f"{file} is damaged ({one_line(error)[:200]}); remove it to train anew"
        ) from None


def _seconds(time: Any) -> float:
    """Return a time that ESPnet wrote: a timedelta, or what stands for one."""
    if isinstance(time, Mapping):
        return float(time["__timedelta_seconds__"])
    return float(time.total_seconds())


def _criterion(directory: Path, stats: Mapping[int, Any]) -> tuple[str, bool]:
    """Return the last criterion for the best model that validation knows."""
    config = read_yaml_mapping(directory / "config.yaml", "training config")
    reported = [parts["valid"] for parts in stats.values()]
    for phase, name, mode in reversed(config.get("best_model_criterion") or []):
        # Without a decoder, its accuracy is reported as NaN.
        known = [math.isfinite(values.get(name, math.nan)) for values in reported]
        if phase == "valid" and any(known):
            return str(name), mode == "max"
    return "loss", False
