"""Reduces the traffic between ranks: only sampled candidates send gradients."""

# No "from __future__ import annotations": DDP compares the annotations of a hook with
# types.

from collections.abc import Sequence

import torch
from torch.distributed import GradBucket

from espnet_stnas.supernet.supernet import Supernet


class PathTraffic:
    """A communication hook of DDP that knows the sampled candidates.

    DDP groups the gradients of all parameters into buckets and sums each bucket over
    the ranks, even if a candidate has no gradient on any rank. So traffic grows with
    the number of candidates K. This hook extracts the gradients of the sampled
    candidates and of the fixed layers from a bucket, sums those, and puts them back.
    The rest needs no sum: DDP finds the parameters that no rank used, and leaves their
    gradients unchanged.

    Args:
        supernet: The supernet.
    """

    def __init__(self, supernet: Supernet) -> None:
        self.paths: tuple[frozenset[int], ...] = ()
        """The candidates of each choice that any rank runs in this step."""
        self._owners = {
            id(parameter): (choice, candidate)
            for choice, layers in enumerate(supernet.blocks_of_choices)
            for layer in layers
            for candidate, operation in enumerate(layer.operations)
            for parameter in operation.parameters()
        }
        self._logits = {id(parameter) for parameter in supernet.logits}

    def sends(self, parameter: torch.Tensor) -> bool:
        """Return whether a parameter's gradient (any shape) is summed over ranks."""
        if id(parameter) in self._logits:
            return False
        owner = self._owners.get(id(parameter))
        return owner is None or owner[1] in self.paths[owner[0]]


def path_traffic(model: torch.nn.Module, supernet: Supernet) -> PathTraffic:
    """Register the hook on a model, once (DDP accepts only one)."""
    assert isinstance(model, torch.nn.parallel.DistributedDataParallel)
    traffic = PathTraffic(supernet)
    model.register_comm_hook(traffic, reduce_paths)
    return traffic


def reduce_paths(
    state: PathTraffic, bucket: GradBucket
) -> torch.futures.Future[torch.Tensor]:
    """Average the sampled candidates' part of a bucket over the ranks.

    Args:
        state: Knows the paths of this step.
        bucket: Gradients (n,) of several parameters, end to end.

    Returns:
        The same gradients (n,), with the averages in their places.
    """
    views = [
        gradient
        for parameter, gradient in zip(
            bucket.parameters(), bucket.gradients(), strict=True
        )
        if state.sends(parameter)
    ]
    buffer = bucket.buffer()
    if not views:
        future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        future.set_result(buffer)
        return future
    message = torch.cat([view.reshape(-1) for view in views])
    message.div_(torch.distributed.get_world_size())
    sent = torch.distributed.all_reduce(message, async_op=True).get_future()

    def put_back(received: torch.futures.Future) -> torch.Tensor:
        _scatter(received.value()[0], views)
        return buffer

    return sent.then(put_back)


def _scatter(message: torch.Tensor, views: Sequence[torch.Tensor]) -> None:
    for view, part in zip(
        views, message.split([v.numel() for v in views]), strict=True
    ):
        view.copy_(part.view(view.shape))
