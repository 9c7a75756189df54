"""Communication between the processes (ranks) of a distributed search."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from espnet_stnas.errors import TrainingError
from espnet_stnas.supernet.steps import LogitLearner

Item = TypeVar("Item")


def stop_together(items: Iterable[Item], device: str) -> Iterator[Item]:
    """End the iteration on all ranks as soon as one rank has no more items.

    ESPnet's loop checks this after it got a batch. An architecture step averages over
    all ranks and comes before that, so the ranks must agree earlier.
    """
    iterator = iter(items)
    while True:
        item = next(iterator, None)
        stopped = torch.tensor(float(item is None), device=device)
        torch.distributed.all_reduce(stopped)
        if stopped > 0 or item is None:
            return
        yield item


def weighted_loss(
    loss: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale the loss of a rank so that the mean over ranks weights utterances equally.

    ESPnet does the same in weight steps. It must happen before the gradients are
    computed: synchronised batch norms propagate gradients of the losses of all ranks.

    Args:
        loss: Mean loss () over the utterances of this rank.
        weight: Weight () of this rank, e.g. its number of utterances.

    Returns:
        The scaled loss (), and the total weight () of all ranks.
    """
    total = weight.detach().clone()
    torch.distributed.all_reduce(total)
    return loss * (weight / total * torch.distributed.get_world_size()), total


def mean_over_ranks(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Average tensors over ranks, in one reduction of a vector.

    Args:
        tensors: Tensors to average (any shape, the same on all ranks).
    """
    flat = torch.cat([t.detach().reshape(-1) for t in tensors])
    torch.distributed.all_reduce(flat)
    means = flat / torch.distributed.get_world_size()
    parts = means.split([t.numel() for t in tensors])
    return [p.reshape(t.shape) for p, t in zip(parts, tensors, strict=True)]


class LearnerOverRanks(LogitLearner):
    """Updates the logits from the average gradients of all ranks."""

    def average(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        """Average tensors (any shape); average the score offsets in place, too."""
        offsets = self.supernet.score_offsets
        means = mean_over_ranks([*tensors, *offsets])
        for offset, mean in zip(offsets, means[len(tensors) :], strict=True):
            offset.copy_(mean)
        return means[: len(tensors)]


def union_over_ranks(
    sets: Sequence[frozenset[int]], sizes: Sequence[int], device: str
) -> tuple[frozenset[int], ...]:
    """Return the union of each choice's candidates over all ranks.

    Args:
        sets: Candidates of each choice on this rank.
        sizes: Number of candidates K of each choice.
        device: Device of the communication.
    """
    members = torch.zeros(sum(sizes), dtype=torch.uint8)
    for part, chosen in zip(members.split(list(sizes)), sets, strict=True):
        part[sorted(chosen)] = 1
    members = members.to(device)
    torch.distributed.all_reduce(members, op=torch.distributed.ReduceOp.MAX)
    return tuple(
        frozenset(part.nonzero().flatten().tolist())
        for part in members.cpu().split(list(sizes))
    )


def refuse_divergence(model: torch.nn.Module, epoch: int, device: str) -> None:
    """Compare all parameters and buffers of a model over the ranks, bit by bit.

    Args:
        model: The model, not wrapped for parallel training.
        epoch: The epoch, for the error.
        device: Device of the communication.

    Raises:
        TrainingError: On all ranks, if any two of them differ.
    """
    state = {k: v for k, v in model.state_dict().items() if torch.is_tensor(v)}
    own = torch.tensor([_digest(v) for v in state.values()], device=device)
    ranks = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(ranks, own)
    for rank, other in enumerate(ranks):
        differing = (other != ranks[0]).nonzero().flatten().tolist()
        if differing:
            raise TrainingError(
                f"the ranks of this search do not hold the same model after epoch "
                f"{epoch}: '{list(state)[differing[0]]}' and {len(differing) - 1} more "
                f"of {len(state)} tensors differ between rank 0 and rank {rank}. The "
                "last checkpoint is that of the epoch before; check that all ranks "
                "have the same options, data, code and kind of machine"
            )


def _digest(tensor: torch.Tensor) -> int:
    """Return the first 63 bits of the SHA-256 of a tensor's bytes."""
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return int.from_bytes(hashlib.sha256(data.data).digest()[:8], "big") >> 1
