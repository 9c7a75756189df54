"""Communication between the processes (ranks) of a distributed search."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Optional, TypeVar

import torch
from torch.multiprocessing import ProcessExitedException

from espnet_stnas.errors import ConfigError, TrainingError
from espnet_stnas.messages import one_line, quote
from espnet_stnas.supernet.steps import LogitLearner

Item = TypeVar("Item")


def on_first_rank(work: Callable[[], object]) -> None:
    """Do something on rank 0 alone, while the others wait.

    Args:
        work: Called on rank 0; in a search of one process, it is simply called.

    Raises:
        ConfigError: On all ranks, if rank 0 raises it.
        WriteError: On rank 0; the others raise a ConfigError with its sentence.
    """
    if not torch.distributed.is_initialized():
        work()
        return
    problem: Optional[Exception] = None
    if torch.distributed.get_rank() == 0:
        try:
            work()
        except Exception as error:
            problem = error
    said = [None if problem is None else one_line(problem)]
    torch.distributed.broadcast_object_list(said, src=0)
    if problem is not None:
        raise problem
    if said[0] is not None:
        raise ConfigError(said[0])


def refuse_differences(options: Mapping[str, Any]) -> None:
    """Check that all ranks were started with the same options.

    Args:
        options: The options that must be the same.

    Raises:
        ConfigError: On all ranks, if any two of them differ.
    """
    if not torch.distributed.is_initialized():
        return
    own = {key: repr(value) for key, value in options.items()}
    ranks: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(ranks, own)
    for number, other in enumerate(ranks):
        differing = sorted(
            k for k in {*ranks[0], *other} if ranks[0].get(k) != other.get(k)
        )
        if differing:
            key = differing[0]
            more = f" (and {', '.join(differing[1:])})" if differing[1:] else ""
            raise ConfigError(
                f"{key}{more} differs between the processes of this search: "
                f"{quote(ranks[0].get(key))[1:-1]} on rank 0, "
                f"{quote(other.get(key))[1:-1]} on rank {number}; accepted are the "
                "same options and data on all ranks"
            )


@contextmanager
def connected() -> Iterator[None]:
    """Name the cause if a process of a distributed search is lost.

    Raises:
        TrainingError: Instead of the error of torch's communication.
        RuntimeError: As it was, if it is of another kind.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, TrainingError) or not _lost(error):
            raise
        raise TrainingError(
            "this process of the search has lost another one, which was killed or "
            "ended with an error (see its log); what the last checkpoint has is whole, "
            f"and the same command goes on from it ({one_line(error)[:200]})"
        ) from error


@contextmanager
def of_workers() -> Iterator[None]:
    """Name the process that ended, where ESPnet started one for each GPU.

    Raises:
        TrainingError: If one ended with an error or by a signal; torch has ended the
            others.
    """
    try:
        yield
    except ProcessExitedException as error:
        cause = error.signal_name or f"exit code {error.exit_code}"
        raise TrainingError(
            f"process {error.error_index} of this search ended ({cause}), and so the "
            "others were ended; what it said stands above, and the same command goes "
            "on from the last checkpoint"
        ) from error


def _lost(error: RuntimeError) -> bool:
    if isinstance(error, torch.distributed.DistError):
        return True
    text = str(error)
    return torch.distributed.is_initialized() and any(
        mark in text for mark in ("gloo", "NCCL", "Connection closed by peer")
    )


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
