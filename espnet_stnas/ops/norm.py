"""Batch norm for padded batches."""

from __future__ import annotations

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
