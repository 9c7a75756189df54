"""The state of one run of a search, which lasts from epoch to epoch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import torch
from espnet2.train.distributed_utils import DistributedOption

from espnet_stnas.results.health import read_health
from espnet_stnas.search.cost import cost_term
from espnet_stnas.search.guards import Guard
from espnet_stnas.search.options import SearchTrainerOptions
from espnet_stnas.search.schedulers import after_warmup
from espnet_stnas.search.traffic import PathTraffic
from espnet_stnas.search.warmup import Warmup
from espnet_stnas.supernet.supernet import find_supernet


class SearchRun:
    """The parts of a search and its state outside of the model.

    Nothing here is saved: a resumed search starts with a new object.

    Args:
        options: Options of the search.
        model: The ESPnet model, not wrapped for parallel training.
        optimizers: The optimizers of weights and logits.
        schedulers: Their learning rate schedules, or None.
        distributed_option: Number of processes of the search, and number of this one.
    """

    def __init__(
        self,
        options: SearchTrainerOptions,
        model: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        schedulers: Sequence[Any],
        distributed_option: DistributedOption,
    ) -> None:
        self.options = options
        self.model = model
        self.supernet = find_supernet(model)
        self.optimizers = optimizers
        self.health = read_health(options.output_dir)
        """What paths did after earlier epochs."""
        self.warmup = Warmup(options.warmup_epochs, options.max_epoch, self.health)
        weights, logits = schedulers
        self.schedulers = [weights, after_warmup(logits, self.warmup)]
        """Those of weights and logits; the latter waits for the end of the warm-up."""
        self.distributed = bool(distributed_option.distributed)
        self.rank = distributed_option.dist_rank or 0
        self.own_draws = self.distributed and options.path_draws == "per_rank"
        """Whether each of several ranks draws its own paths."""
        self.device = "cuda" if options.ngpu > 0 else "cpu"
        self.cost = cost_term(self.supernet, options.cost_conf)
        self.guard = Guard(self.supernet.space, options, self.warmup)
        self.skipped_in_a_row: Counter[str] = Counter()
        """Of weight and of architecture steps, how many were skipped at last."""
        self.steps: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        """Of weight and of architecture steps of finished epochs, how many were tried
        and how many were skipped."""
        self.epoch = 0
        """The last epoch that this run has begun."""
        self.traffic: Optional[PathTraffic] = None
        """Knows which gradients to send to other ranks; it is made once."""
        self.told_signs = False
        """Whether the log says which sign of the arg max means which candidate."""
        self.epoch_started = time.perf_counter()
        self.validated_at: Optional[float] = None
        """When the last epoch was validated, if this run has had one."""

    def is_searching(self, epoch: int) -> bool:
        """Return whether the logits learn in an epoch (it is not warm-up)."""
        return not self.warmup.includes(epoch)


@dataclass
class RunOptions(SearchTrainerOptions):
    """The trainer's options together with the state of the run.

    ESPnet's trainer has only class methods and passes its options to each of them. So
    this object brings the state to every method, and ends with the run.
    """

    run: SearchRun
