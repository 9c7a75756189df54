"""The same networks with convolutions by way of `torch.nn.Conv1d`."""

from __future__ import annotations

import copy

import torch

from espnet_stnas.ops.tdnn import FrameConv


class TransposedConv1d(torch.nn.Module):
    """What FrameConv computes, as `Conv1d` over (B, D, T).

    Args:
        like: The layer to copy.
    """

    def __init__(self, like: FrameConv) -> None:
        super().__init__()
        output_width, input_width, kernel = like.weight.shape
        self.conv = torch.nn.Conv1d(
            *(input_width, output_width, kernel, like.stride),
            # The layers of the benchmarks see as many frames on both sides.
            *(like.padding[0], like.dilation),
        )
        self.conv.load_state_dict({"weight": like.weight, "bias": like.bias})

    def forward(self, xs_pad: torch.Tensor) -> torch.Tensor:
        """Transform (B, T, D) to (B, T', D')."""
        return self.conv(xs_pad.transpose(1, 2)).transpose(1, 2)

    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Output frames (B,) of valid input frames (B,)."""
        return (ilens - 1) // self.conv.stride[0] + 1


def with_conv1d(network: torch.nn.Module) -> torch.nn.Module:
    """A copy of a network whose frame convolutions are `Conv1d`."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, FrameConv):
                setattr(module, name, TransposedConv1d(child))
    return network
