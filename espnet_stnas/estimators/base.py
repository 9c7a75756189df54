"""The interface between architecture logits and choice blocks.

An estimator turns the logits of a choice into a :class:`Gate`. The gate says which
candidates to run, and holds the mixing coefficients c(alpha), a differentiable
function of the logits. A choice block hands back dLoss/dc_k; autograd takes it to the
logits through the estimator's own definition of c. So an estimator knows no operation
and no loss, and a choice block knows no estimator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Optional

import torch


@dataclass(frozen=True)
class Gate:
    """How one choice block combines its candidates in one forward.

    Args:
        active: Candidates whose outputs make the block's output. One is a path: its
            output is the output. Several are a mixture: sum of c_k o_k(x).
        coefficients: Mixing coefficients c (K,), or None if the logits shall get no
            gradient.
        scored: Further candidates that get a gradient dLoss/dc_k = <dLoss/dy, o_k(x)>
            without being part of the output.
    """

    active: tuple[int, ...]
    coefficients: Optional[torch.Tensor] = None
    scored: tuple[int, ...] = ()


class Estimator(ABC):
    """Draws gates from architecture logits."""

    @abstractmethod
    def architecture_gate(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> Gate:
        """The gate of an architecture step, whose coefficients lead to the logits.

        Args:
            logits: Architecture logits alpha (K,) of one choice.
            generator: Source of all random draws.
        """

    def weight_gate(self, logits: torch.Tensor, generator: torch.Generator) -> Gate:
        """The gate of a weight step: a path drawn from pi, no architecture gradient.

        Args:
            logits: Architecture logits alpha (K,) of one choice.
            generator: Source of all random draws.
        """
        return Gate(active=(sample(probabilities(logits), generator),))


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """The probabilities pi = softmax(alpha), in float32 at least, outside autocast.

    Args:
        logits: Architecture logits alpha (K,).
    """
    with torch.autocast(logits.device.type, enabled=False):
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return torch.softmax(logits.to(dtype), dim=0)


def sample(pi: torch.Tensor, generator: torch.Generator) -> int:
    """Draw an index from the probabilities ``pi`` (K,).

    The draw happens on the CPU in float64, so that it is the same on every device.
    """
    return int(
        torch.multinomial(pi.detach().double().cpu(), 1, generator=generator).item()
    )
