"""Random draws of a search that a resumed run repeats."""

from __future__ import annotations

import hashlib

import torch


def path_generator(
    seed: int, epoch: int, step: int, role: str, rank: int = 0
) -> torch.Generator:
    """A CPU generator that depends on its arguments only.

    Paths drawn from it are the same after a resume, and on every rank of a distributed
    search if all ask for rank 0, whatever else draws random numbers.

    Args:
        seed: Seed of the search.
        epoch: Epoch, from 1.
        step: Step of the epoch, from 1.
        role: What the draws are for, e.g. ``weights`` or ``architecture``.
        rank: The rank, if each draws its own.
    """
    text = "/".join(str(x) for x in (seed, epoch, step, role, *([rank] * (rank > 0))))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)
