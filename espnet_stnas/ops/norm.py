"""Batch norm for padded batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch.distributed.nn.functional import all_reduce

from espnet_stnas.ops.lengths import padding_mask, zero_padding


class MaskedBatchNorm(torch.nn.BatchNorm1d):
    """Batch norm that takes its statistics from valid frames only.

    It computes the same as ``MaskedBatchNorm1d`` of the ST-NAS code. With fewer than
    two valid frames there is no variance, so the running statistics are used.
    """

    synchronised = False
    """Whether training uses the statistics of all ranks, as of one batch."""

    def forward(  # type: ignore[override]
        self, xs_pad: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Normalise (B, T, D) and set padding frames of the output to zero.

        Args:
            xs_pad: Frames (B, T, D).
            lengths: Valid frames (B,).
        """
        if not self.training:
            # Do not select frames by a mask: an export does not know their number.
            frames = self._by_running_statistics(xs_pad.flatten(0, 1))
            return zero_padding(frames.view_as(xs_pad), lengths)
        valid = ~padding_mask(lengths, xs_pad.size(1))
        frames = xs_pad[valid]
        if self.synchronised:
            frames = self._over_ranks(frames)
        elif frames.size(0) < 2:
            frames = self._by_running_statistics(frames)
        else:
            frames = super().forward(frames)
        ys_pad = frames.new_zeros(*xs_pad.shape)
        ys_pad[valid] = frames
        return ys_pad

    def _by_running_statistics(self, frames: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(
            frames,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            eps=self.eps,
        )

    def _over_ranks(self, frames: torch.Tensor) -> torch.Tensor:
        """Normalise (N, D) by the statistics of the frames of all ranks.

        `torch.nn.SyncBatchNorm` does this on GPUs only.
        """
        # Sums in float16 would overflow.
        values = frames.to(torch.promote_types(frames.dtype, torch.float32))
        total = float(all_reduce(values.new_tensor(float(len(values)))))
        if total < 2:
            return self._by_running_statistics(frames)
        mean = all_reduce(values.sum(dim=0)) / total
        centred = values - mean
        squares = all_reduce(centred.square().sum(dim=0))
        if self.track_running_stats:
            with torch.no_grad():
                assert self.running_mean is not None and self.running_var is not None
                assert self.num_batches_tracked is not None
                assert self.momentum is not None
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(squares / (total - 1), self.momentum)
        scale = (squares / total + self.eps).rsqrt() * self.weight
        return (centred * scale + self.bias).to(frames.dtype)


def frame_norm(kind: str, width: int) -> torch.nn.Module:
    """Build a layer norm (``ln``) or a masked batch norm (``bn``) for frames."""
    return torch.nn.LayerNorm(width) if kind == "ln" else MaskedBatchNorm(width)


def normalised(
    norm: torch.nn.Module, xs_pad: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Normalise frames (B, T, D) by a layer norm or a masked batch norm.

    Args:
        norm: The layer norm or masked batch norm.
        xs_pad: Frames (B, T, D).
        lengths: Valid frames (B,).
    """
    if isinstance(norm, MaskedBatchNorm):
        return norm(xs_pad, lengths)
    return norm(xs_pad)


@contextmanager
def synchronised_statistics(model: torch.nn.Module) -> Iterator[None]:
    """Compute the statistics of all masked batch norms of a model over all ranks.

    Every rank must run the same operations inside this context.
    """
    norms = [m for m in model.modules() if isinstance(m, MaskedBatchNorm)]
    for norm in norms:
        norm.synchronised = True
    try:
        yield
    finally:
        for norm in norms:
            norm.synchronised = False


@contextmanager
def frozen_statistics(model: torch.nn.Module) -> Iterator[None]:
    """Keep the running statistics of all batch norms of a model unchanged in training.

    An architecture step normalises by its batch as a weight step does, but must not
    change the network: its data are not the training data of the weights.
    """
    norms = [
        m
        for m in model.modules()
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
        and m.track_running_stats
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
