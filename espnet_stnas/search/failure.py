"""Tells searches that have failed from those that have not, and writes it down."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from espnet_stnas.errors import TrainingError, WriteError
from espnet_stnas.files import dump_yaml, write_text
from espnet_stnas.results.experiment import FAILED
from espnet_stnas.search.epoch import Epoch
from espnet_stnas.search.state import SearchRun


@contextmanager
def noting_failure(run: SearchRun) -> Iterator[None]:
    """Write ``failed.yaml`` if the search fails, so that nobody derives from it.

    A search that is killed, or stops at an error of another kind, has not failed: it
    can go on.

    Raises:
        TrainingError: If it fails; this only passes it on.
    """
    try:
        yield
    except TrainingError as error:
        if run.rank == 0:
            text = dump_yaml({"epoch": run.epoch, "reason": str(error)})
            try:
                write_text(Path(run.options.output_dir) / FAILED, text)
            except WriteError as full:
                logging.error(str(full))
        raise


def refuse_invalid(epoch: Epoch, invalid: bool) -> None:
    """Refuse to go on after an epoch without a weight step.

    Args:
        epoch: The epoch, after its last step.
        invalid: Whether ESPnet found all of its weight steps invalid.

    Raises:
        TrainingError: If there was none.
    """
    if not invalid:
        return
    steps, every = epoch.steps["weight"], epoch.run.options.accum_grad
    if not steps:
        raise TrainingError(
            f"epoch {epoch.number} had no weight step: accum_grad is {every}, and the "
            "epoch has fewer batches; accepted is a smaller accum_grad, or more data"
        )
    raise TrainingError(
        f"all {steps} weight steps of epoch {epoch.number} were skipped, since their "
        "loss or gradient was not finite; look at the data, lower the learning rate or "
        "grad_clip, or switch use_amp off"
    )


def refuse_unmoved(run: SearchRun) -> None:
    """Refuse to call a search a success if its logits should have moved, but did not.

    Args:
        run: The search, after its last epoch.

    Raises:
        TrainingError: If its logits got no update, or have no effect of any.
    """
    tried, skipped = run.steps["architecture"], run.skipped["architecture"]
    rates = [
        # A scheduler may have taken the rate to 0 by now.
        max(group["lr"], group.get("initial_lr", 0.0))
        for group in run.optimizers[1].param_groups
    ]
    if not tried or not any(rates):
        return
    if skipped == tried:
        raise TrainingError(
            f"the logits did not move: all {tried} architecture steps of this run were "
            "skipped, since their loss or gradient was not finite; look at the data, "
            "lower the learning rate or grad_clip, or switch use_amp off"
        )
    if all(bool((p == p[0]).all()) for p in run.supernet.logits):
        raise TrainingError(
            f"the logits of this search never moved: after {tried} architecture steps "
            "all candidates of all choices are still equal; look for arch_grad_norm in "
            "the log, and whether freeze_param names the encoder"
        )
