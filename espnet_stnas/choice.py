"""The choice block: candidate operations, their logits, and their scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Optional

import torch

from espnet_stnas.estimators.base import Gate
from espnet_stnas.lengths import zero_padding
from espnet_stnas.network import NetworkLayer
from espnet_stnas.space import Layer, LayerShape, SearchSpace

# (x, y, dLoss/dy) -> dLoss/dc (K,)
ScoreFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class ChoiceLayer(NetworkLayer):
    """A layer whose operation the search decides.

    Args:
        layer: The candidate operations, K of them.
        shape: Widths of the layer and whether it has a skip.
        space: Where the shared settings are.
    """

    def __init__(self, layer: Layer, shape: LayerShape, space: SearchSpace) -> None:
        super().__init__(layer, shape, space)
        self.logits = torch.nn.Parameter(torch.zeros(len(layer.candidates)))

    def forward(  # type: ignore[override]
        self, xs_pad: torch.Tensor, ilens: torch.Tensor, gate: Gate
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Combine the candidates as the gate says.

        Args:
            xs_pad: Frames (B, T, D), zero where padded.
            ilens: Valid frames (B,).
            gate: What to run.

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
        ys, olens = self.operations[gate.active[0]](xs_pad, ilens)
        ys = zero_padding(ys, olens)
        if gate.coefficients is None or not torch.is_grad_enabled():
            return ys, olens
        score = partial(self._scores, gate, ilens, olens)
        scored = _ScoredPath.apply(ys, gate.coefficients, xs_pad, score)
        return scored, olens

    def _scores(
        self,
        gate: Gate,
        ilens: torch.Tensor,
        olens: torch.Tensor,
        xs_pad: torch.Tensor,
        ys: torch.Tensor,
        gradient: torch.Tensor,
    ) -> torch.Tensor:
        """s_k = <dLoss/dy, o_k(x)> (K,), zero for candidates the gate leaves out.

        The other candidates' outputs are made, used and dropped one by one, without
        a graph, once dLoss/dy is known: memory does not grow with K.
        """
        assert gate.coefficients is not None
        scores = torch.zeros_like(gate.coefficients)
        # The next layer reaches over into padding frames, where y is always zero.
        gradient = zero_padding(gradient, olens)
        operations = self.operations
        scores[gate.active[0]] = inner_product(gradient, ys)
        for k in gate.scored:
            scores[k] = inner_product(gradient, operations[k].expected(xs_pad, ilens))
        return scores


class _ScoredPath(torch.autograd.Function):
    """Passes the sampled output on, and scores all candidates in the backward.

    The output and its gradient are those of the plain single-path network; only the
    coefficients get an additional gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        ys: torch.Tensor,
        coefficients: torch.Tensor,
        xs_pad: torch.Tensor,
        score: ScoreFunction,
    ) -> torch.Tensor:
        """Return ``ys`` (B, T, D) unchanged."""
        device = ys.device.type
        ctx.autocast = (
            device,
            torch.get_autocast_dtype(device),
            torch.is_autocast_enabled(device),
        )
        ctx.score = score
        ctx.save_for_backward(xs_pad, ys)
        return ys.view_as(ys)

    @staticmethod
    def backward(
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, Optional[torch.Tensor], None, None]:
        """Pass dLoss/dy on; dLoss/dc are the scores."""
        if not ctx.needs_input_grad[1]:
            return gradient, None, None, None
        xs_pad, ys = ctx.saved_tensors
        with torch.no_grad(), torch.autocast(*ctx.autocast):
            return gradient, ctx.score(xs_pad, ys, gradient), None, None


def inner_product(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The inner product over all elements, accumulated in float32 at least."""
    dtype = torch.promote_types(one.dtype, torch.float32)
    with torch.autocast(one.device.type, enabled=False):
        return torch.dot(one.to(dtype).reshape(-1), other.to(dtype).reshape(-1))
