"""Undoes what a step that is skipped has changed."""

from __future__ import annotations

from collections.abc import Iterable

import torch


class Kept:
    """Copies of tensors that steps change as they go, such as running statistics.

    A step whose loss or gradient is not finite changes no parameter, but its forward
    pass has already moved the running statistics of batch norms: one NaN would stay in
    them. So they are saved before each step, and restored if it is skipped.

    Random state is not restored: a skipped step takes as many draws as if it were
    made. Each step of a search draws its path from a generator of its own, and ESPnet
    seeds all others anew in each epoch, so a resumed search repeats all draws. In a
    plain loop, a restored generator would draw a path that gives no finite loss again
    and again.

    Args:
        tensors: Dense tensors (any shape) that change in place. They are saved at once.
    """

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        kinds: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault((tensor.device, tensor.dtype), []).append(tensor.detach())
        self._kinds = list(kinds.values())
        self.save()

    def save(self) -> None:
        """Copy the tensors: one copy for each device and dtype, without waiting."""
        self._copies = [
            torch.cat([t.reshape(-1) for t in tensors]) for tensors in self._kinds
        ]

    def restore(self) -> None:
        """Set the tensors to their values at the last :meth:`save`."""
        for tensors, copy in zip(self._kinds, self._copies, strict=True):
            for tensor, value in zip(
                tensors, copy.split([t.numel() for t in tensors]), strict=True
            ):
                tensor.copy_(value.view_as(tensor))
