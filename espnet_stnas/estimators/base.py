"""The interface between architecture logits and choice blocks.

An estimator turns the logits of a choice into a :class:`Gate`. The gate says which
candidates to run, and holds the mixing coefficients c(alpha), a differentiable
function of the logits. A choice block hands back dLoss/dc_k; autograd takes it to the
logits through the estimator's own definition of c. So an estimator knows no operation
and no loss, and a choice block knows no estimator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Protocol

import torch


@dataclass(frozen=True)
class Scoring:
    """How the scores of candidates outside of the output are made.

    The defaults are exact; the rest trades exactness for time.

    Args:
        dtype: Precision of these candidates' outputs (``torch.bfloat16``), or None for
            that of the output.
        share: Share of the utterances that are scored, in (0, 1]; at least one is.
            The scores are scaled up, so that their expectation does not change.
        seed: Decides which utterances.
    """

    dtype: Optional[torch.dtype] = None
    share: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Gate:
    """How one choice block combines its candidates in one forward.

    Args:
        active: Candidates whose outputs make the block's output. One is a path: its
            output is the output. Several are a mixture: sum of c_k o_k(x).
        coefficients: Mixing coefficients c (K,), or None if the logits shall get no
            gradient. Those of a path sum to one whatever the logits are.
        scored: Further candidates that get a gradient dLoss/dc_k = <dLoss/dy, o_k(x)>
            without being part of the output.
        inverse_chances: If ``scored`` was drawn from all other candidates, the inverse
            of the chance of each to be drawn. The gradients of all candidates are
            then estimated from theirs without bias.
        scoring: How they get it.
    """

    active: tuple[int, ...]
    coefficients: Optional[torch.Tensor] = None
    scored: tuple[int, ...] = ()
    inverse_chances: Optional[tuple[float, ...]] = None
    scoring: Scoring = Scoring()

    @property
    def touched(self) -> frozenset[int]:
        """The candidates whose logits this gate gives a gradient of their own."""
        if self.coefficients is None:
            return frozenset()
        return frozenset(self.active) | frozenset(self.scored)


class Losses(Protocol):
    """What an estimator may ask of an architecture step.

    Every call runs the supernet once more, with the gates of this step.
    """

    @property
    def logits(self) -> Sequence[torch.nn.Parameter]:
        """The architecture logits (K_1,), (K_2,), ..."""

    @property
    def weights(self) -> Sequence[torch.nn.Parameter]:
        """All other parameters that learn."""

    @property
    def learning_rate(self) -> float:
        """That of the weights' optimizer, now."""

    def architecture_gradients(
        self, wrt: Sequence[torch.nn.Parameter]
    ) -> list[torch.Tensor]:
        """Gradients of the loss on the batch of the architecture step.

        Args:
            wrt: Parameters, logits or weights (any shape), whose gradients are wanted.
        """

    def weight_gradients(self, wrt: Sequence[torch.nn.Parameter]) -> list[torch.Tensor]:
        """Gradients of the loss on the batch of the weight step that comes next.

        Args:
            wrt: Parameters, logits or weights (any shape), whose gradients are wanted.
        """


class Estimator(ABC):
    """Draws gates from architecture logits."""

    learns = True
    """Whether the logits get a gradient at all."""
    needs_weight_batch = False
    """Whether architecture steps look at a training batch of the weights, too."""

    @abstractmethod
    def architecture_gate(
        self, logits: torch.Tensor, generator: torch.Generator
    ) -> Gate:
        """The gate of an architecture step, whose coefficients lead to the logits.

        Args:
            logits: Architecture logits alpha (K,) of one choice, on the CPU.
            generator: Source of all random draws.
        """

    def weight_gate(self, logits: torch.Tensor, generator: torch.Generator) -> Gate:
        """The gate of a weight step: a path drawn from pi, no architecture gradient.

        Args:
            logits: Architecture logits alpha (K,) of one choice, on the CPU.
            generator: Source of all random draws.
        """
        return Gate(active=(sample(probabilities(logits), generator),))

    def check(self, sizes: Sequence[int]) -> None:
        """Refuse a space that the options do not suit.

        Args:
            sizes: Number of candidates of every choice.

        Raises:
            ConfigError: If there is one.
        """

    def start_epoch(self, epoch: int) -> None:
        """Follow a schedule.

        Args:
            epoch: Epoch of the search, from 1 after the warm-up.
        """

    def report(self) -> dict[str, float]:
        """Values worth a curve, e.g. a temperature."""
        return {}

    def gradients(self, losses: Losses) -> list[torch.Tensor]:
        """The architecture gradient of one step, (K_1,), (K_2,), ...

        Args:
            losses: The losses of this step.
        """
        return losses.architecture_gradients(losses.logits)

    def after_update(
        self, logits: torch.Tensor, before: torch.Tensor, touched: frozenset[int]
    ) -> None:
        """Correct an update of the logits in place.

        Args:
            logits: Logits (K,) of one choice, after the optimizer's step.
            before: The same (K,) before it.
            touched: Candidates that gates of this update touched.
        """


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


def gumbel(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Standard Gumbel noise, -log(Exponential(1)), as many as there are logits (K,)."""
    draws = torch.empty(len(like), dtype=torch.float64)
    return -draws.exponential_(generator=generator).log().to(like.dtype)
