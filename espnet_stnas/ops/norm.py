"""Batch norm for padded batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from espnet_stnas.lengths import padding_mask


class MaskedBatchNorm(torch.nn.BatchNorm1d):
    """Batch norm whose statistics are those of the valid frames only.

    As `MaskedBatchNorm1d` of the ST-NAS code computes it: with fewer than two valid
    frames there is no variance, and the running statistics are used.
    """

    def forward(  # type: ignore[override]
        self, xs_pad: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Normalise (B, T, D); padding frames of the output are zero.

        Args:
            xs_pad: Frames (B, T, D).
            lengths: Valid frames (B,).
        """
        valid = ~padding_mask(lengths, xs_pad.size(1))
        frames = xs_pad[valid]
        if self.training and frames.size(0) < 2:
            frames = F.batch_norm(
                frames,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                eps=self.eps,
            )
        else:
            frames = super().forward(frames)
        ys_pad = frames.new_zeros(*xs_pad.shape)
        ys_pad[valid] = frames
        return ys_pad


@contextmanager
def frozen_statistics(model: torch.nn.Module) -> Iterator[None]:
    """Keep the running statistics of all batch norms of a model in training mode.

    An architecture step normalises by its batch as a weight step does, but must not
    change the network: its data are not training data of the weights.
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
