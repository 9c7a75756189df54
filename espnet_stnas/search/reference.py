"""The weights that a search begins with, to begin anew after its reference."""

from __future__ import annotations

from pathlib import Path

import torch

from espnet_stnas.search.state import SearchRun
from espnet_stnas.search.warmup import FIRST_WEIGHTS


def keep_first_weights(run: SearchRun) -> None:
    """Save the first weights, if the search is to return to them.

    A resumed search has the file already: its model has the weights of a checkpoint.

    Args:
        run: The search, before its first epoch, inside of
            :func:`~espnet_stnas.host.checkpoints.whole_saves`.
    """
    path = _path(run)
    wanted = run.warmup.reference > 0 and run.health.reference is None
    if wanted and run.rank == 0 and not path.exists():
        torch.save(run.model.state_dict(), path)


def begin_anew(run: SearchRun) -> None:
    """Return to the first weights, and forget what their optimizer knows.

    Without this, all that the reference learned would speak for the largest candidates.

    Args:
        run: The search, after the last epoch of its reference.
    """
    state = torch.load(_path(run), map_location="cpu", weights_only=True)
    run.model.load_state_dict(state)
    run.optimizers[0].state.clear()


def drop_first_weights(run: SearchRun) -> None:
    """Remove the file, when a checkpoint of a later epoch exists."""
    if run.rank == 0:
        _path(run).unlink(missing_ok=True)


def _path(run: SearchRun) -> Path:
    return Path(run.options.output_dir) / FIRST_WEIGHTS
