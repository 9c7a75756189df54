"""Random draws of a search that a resumed run repeats."""

from __future__ import annotations

import hashlib

import torch


def path_generator(seed: int, epoch: int, step: int, role: str) -> torch.Generator:
    """A CPU generator that depends on its arguments only.

    Paths drawn from it are the same after a resume and on every rank of a
    distributed search, whatever else draws random numbers.

    Args:
        seed: Seed of the search.
        epoch: Epoch, from 1.
        step: Step of the epoch, from 1.
        role: What the draws are for, e.g. ``weights`` or ``architecture``.
    """
    text = f"{seed}/{epoch}/{step}/{role}".encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)
