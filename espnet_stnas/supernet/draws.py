"""Random generators of steps."""

from __future__ import annotations

import hashlib

import torch


def path_generator(
    seed: int, epoch: int, step: int, role: str, rank: int = 0
) -> torch.Generator:
    """Return a CPU generator whose state depends only on the arguments.

    Paths drawn from it do not change after a resume. They are equal on all ranks of a
    distributed search if all ranks pass rank 0. Other random draws have no effect.

    Args:
        seed: Seed of the search.
        epoch: Epoch, from 1.
        step: Step of the epoch, from 1.
        role: Purpose of the draws, e.g. ``weights`` or ``architecture``.
        rank: The rank, if each rank draws its own paths.

    >>> one, other = (path_generator(0, 1, 7, "weights") for _ in range(2))
    >>> torch.equal(torch.rand(2, generator=one), torch.rand(2, generator=other))
    True
    """
    text = "/".join(str(x) for x in (seed, epoch, step, role, *([rank] * (rank > 0))))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)
