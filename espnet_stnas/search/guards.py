"""Warnings of a search that does not move, or decides too soon."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_stnas.certainty import SearchPlan, new_doubts
from espnet_stnas.search.experiment import SearchExperiment
from espnet_stnas.space import SearchSpace
from espnet_stnas.spec import ConfigError

if TYPE_CHECKING:
    from espnet_stnas.search.trainer import SearchTrainerOptions


def warn(space: SearchSpace, epoch: int, options: SearchTrainerOptions) -> None:
    """Log what became doubtful about the choices in an epoch that is written.

    Args:
        space: The search space.
        epoch: The epoch; its architecture file is there.
        options: Options of the search.
    """
    epochs = max(0, options.max_epoch - options.warmup_epochs)
    plan = SearchPlan(options.estimator, epochs)
    experiment = SearchExperiment(Path(options.output_dir), space, plan)
    history = []
    # Files behind this epoch may be of an older search in the same place.
    for number in experiment.epochs:
        if options.warmup_epochs < number <= epoch:
            try:
                history.append(experiment.architecture(number))
            except ConfigError:
                # A damaged file of an earlier epoch must not stop a search.
                continue
    for doubt in new_doubts(history, plan):
        logging.warning(doubt.text)
