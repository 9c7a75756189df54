"""The options of a search that its trainer uses."""

from __future__ import annotations

import dataclasses
from typing import Union

from espnet2.train.trainer import TrainerOptions


@dataclasses.dataclass
class SearchTrainerOptions(TrainerOptions):
    """The options of ESPnet's trainer and of the search."""

    warmup_epochs: Union[int, str]
    estimator: str
    estimator_conf: dict
    cost_conf: dict
    arch_data: str
    path_draws: str
    max_skipped_steps: int
    elastic: bool
    distill_weight: float
