"""The choice block: candidate operations and their logits."""

from __future__ import annotations

from functools import partial

import torch

from espnet_stnas.estimators.base import Gate
from espnet_stnas.network.network import NetworkLayer
from espnet_stnas.notation.shapes import LayerShape
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.topology import Layer
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.sharing import share_weights
from espnet_stnas.supernet.scores import ScoredPath, candidate_scores


class ChoiceBlock(NetworkLayer):
    """A layer whose operation the search decides.

    Args:
        layer: The K candidate operations.
        shape: Widths of the layer and whether it has a skip.
        space: Gives the settings that all layers share.
    """

    score_offset: torch.Tensor

    def __init__(self, layer: Layer, shape: LayerShape, space: SearchSpace) -> None:
        super().__init__(layer, shape, space)
        if space.sharing == "kernel":
            self.shared = share_weights(self.operations)
        self.logits = torch.nn.Parameter(torch.zeros(len(layer.candidates)))
        # Part of the state dict, so that a resumed search equals an uninterrupted one.
        self.register_buffer("score_offset", torch.zeros(2))

    def espnet_initialization_fn(self) -> None:
        """Start with equal logits, whatever ESPnet's option ``init`` says."""
        torch.nn.init.zeros_(self.logits)

    def forward(  # type: ignore[override]
        self, xs_pad: torch.Tensor, ilens: torch.Tensor, gate: Gate
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Combine the candidates as the gate says.

        Args:
            xs_pad: Frames (B, T, D), zero where padded.
            ilens: Valid frames (B,).
            gate: Selects the candidates to run and how to combine them.

        Returns:
            Frames (B, T', D'), zero where padded, and valid lengths (B,).
        """
        if len(gate.active) > 1:
            ys, olens = self._mixture(xs_pad, ilens, gate)
        else:
            ys, olens = self._path(xs_pad, ilens, gate)
        return (xs_pad + ys if self.skip else ys), olens

    def _mixture(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor, gate: Gate
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if gate.coefficients is None:
            raise ValueError("a gate with several active candidates needs coefficients")
        operations = self.operations
        outputs = [operations[k](xs_pad, ilens) for k in gate.active]
        ys = sum(
            gate.coefficients[k] * y
            for k, (y, _) in zip(gate.active, outputs, strict=True)
        )
        olens = outputs[0][1]
        return zero_padding(ys, olens), olens

    def _path(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor, gate: Gate
    ) -> tuple[torch.Tensor, torch.Tensor]:
        operations = self.operations
        ys, olens = operations[gate.active[0]](xs_pad, ilens)
        ys = zero_padding(ys, olens)
        if gate.coefficients is not None and torch.is_grad_enabled():
            score = partial(
                candidate_scores, operations, gate, self.score_offset, ilens, olens
            )
            ys = ScoredPath.apply(ys, gate.coefficients, xs_pad, score)
        return ys, olens
