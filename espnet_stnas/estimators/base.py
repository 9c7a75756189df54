"""The interface between architecture logits and choice blocks.

An estimator turns the logits of a choice into a :class:`Gate`. The gate selects the
candidates to run and holds the mixing coefficients c(alpha), a differentiable function
of the logits. A choice block returns dLoss/dc_k; autograd propagates it to the logits
through the estimator's definition of c. So an estimator knows no operation and no loss,
and a choice block knows no estimator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Protocol

import torch

from espnet_stnas.errors import ConfigError

SCORE_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Scoring:
    """Settings for the scores of candidates that are not part of the output.

    The defaults are exact; other values trade exactness for time.

    Args:
        dtype: Precision of these candidates' outputs (``torch.bfloat16``); None: the
            precision of the block's output.
        share: Share of the utterances to score, in (0, 1]; at least one utterance.
            Scores are scaled up, so that their expectation does not change.
        seed: Seed that selects the utterances.
    """

    dtype: Optional[torch.dtype] = None
    share: float = 1.0
    seed: int = 0

    def seeded(self, generator: Optional[torch.Generator]) -> Scoring:
        """Return the settings with a newly drawn seed, if they leave out utterances."""
        if self.share >= 1.0 or generator is None:
            return self
        seed = int(torch.randint(2**31, (), generator=generator))
        return Scoring(self.dtype, self.share, seed)


@dataclass(frozen=True)
class Gate:
    """Selects and combines the K candidates of a choice block in one forward pass.

    Args:
        active: Candidates whose outputs form the block's output. One candidate is a
            path: its output is the output. Several are a mixture: sum of c_k o_k(x).
        coefficients: Mixing coefficients c (K,), or None if the logits get no gradient.
            The coefficients of a path sum to one whatever the logits are.
        scored: Further candidates that get a gradient dLoss/dc_k = <dLoss/dy, o_k(x)>
            but are not part of the output.
        inverse_chances: If ``scored`` is a random subset of the other candidates, one
            divided by the chance (K,) of each candidate to be drawn. The gradients of
            all candidates are then estimated without bias.
        scoring: How to compute the scores.

    >>> path = Gate(active=(2,))  # runs candidate 2; the logits get no gradient
    >>> pi = torch.tensor([0.7, 0.3])
    >>> mixture = Gate(active=(0, 1), coefficients=pi)
    >>> sorted(mixture.touched)
    [0, 1]
    """

    active: tuple[int, ...]
    coefficients: Optional[torch.Tensor] = None
    scored: tuple[int, ...] = ()
    inverse_chances: Optional[tuple[float, ...]] = None
    scoring: Scoring = Scoring()

    @property
    def touched(self) -> frozenset[int]:
        """The candidates whose logits get a gradient of their own from this gate."""
        if self.coefficients is None:
            return frozenset()
        return frozenset(self.active) | frozenset(self.scored)


class Losses(Protocol):
    """The gradients that an estimator can request in an architecture step.

    Every call runs the supernet once more, with the gates of this step.
    """

    @property
    def logits(self) -> Sequence[torch.nn.Parameter]:
        """The architecture logits (K_1,), (K_2,), ..."""

    @property
    def weights(self) -> Sequence[torch.nn.Parameter]:
        """All other trainable parameters."""

    @property
    def learning_rate(self) -> float:
        """The present learning rate of the weights' optimizer."""

    def architecture_gradients(
        self, wrt: Sequence[torch.nn.Parameter]
    ) -> list[torch.Tensor]:
        """Compute gradients of the loss on the batch of the architecture step.

        Args:
            wrt: Parameters, logits or weights (any shape), to differentiate by.
        """

    def weight_gradients(self, wrt: Sequence[torch.nn.Parameter]) -> list[torch.Tensor]:
        """Compute gradients of the loss on the batch of the next weight step.

        Args:
            wrt: Parameters, logits or weights (any shape), to differentiate by.
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
        """Draw the gate of an architecture step, with coefficients c(alpha).

        Args:
            logits: Architecture logits alpha (K,) of one choice, on the CPU.
            generator: Source of all random draws.
        """

    def weight_gate(self, logits: torch.Tensor, generator: torch.Generator) -> Gate:
        """Draw the gate of a weight step: a path from pi, without a gradient.

        Args:
            logits: Architecture logits alpha (K,) of one choice, on the CPU.
            generator: Source of all random draws.
        """
        return Gate(active=(sample(probabilities(logits), generator),))

    def check(self, sizes: Sequence[int]) -> None:
        """Refuse a search space that does not suit the options.

        Args:
            sizes: Number of candidates of every choice.

        Raises:
            ConfigError: If the space does not suit the options.
        """

    def start_epoch(self, epoch: int) -> None:
        """Update values that depend on the epoch, such as a temperature.

        Args:
            epoch: Epoch of the search, from 1 after the warm-up.
        """

    def report(self) -> dict[str, float]:
        """Return values to plot over the epochs, e.g. a temperature."""
        return {}

    def gradients(self, losses: Losses) -> list[torch.Tensor]:
        """Compute the architecture gradient of one step, (K_1,), (K_2,), ...

        Args:
            losses: The losses of this step.
        """
        return losses.architecture_gradients(losses.logits)

    def after_update(
        self, logits: torch.Tensor, before: torch.Tensor, touched: frozenset[int]
    ) -> None:
        """Correct an update of the logits in place.

        Args:
            logits: Logits (K,) of one choice after the optimizer's step.
            before: Logits (K,) of that choice before the step.
            touched: Candidates that the gates of this update gave a gradient.
        """


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Return pi = softmax(alpha), in at least float32, outside of autocast.

    Args:
        logits: Architecture logits alpha (K,).
    """
    with torch.autocast(logits.device.type, enabled=False):
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return torch.softmax(logits.to(dtype), dim=0)


def sample(pi: torch.Tensor, generator: torch.Generator) -> int:
    """Draw an index from the probabilities ``pi`` (K,).

    The draw uses float64 on the CPU, so that it is the same on every device.
    """
    return int(
        torch.multinomial(pi.detach().double().cpu(), 1, generator=generator).item()
    )


def gumbel(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw standard Gumbel noise, -log(Exponential(1)), for each of the logits (K,)."""
    draws = torch.empty(len(like), dtype=torch.float64)
    return -draws.exponential_(generator=generator).log().to(like.dtype)


def one_hot(like: torch.Tensor, path: int) -> torch.Tensor:
    """Return a one-hot vector (n,) with the type and device of another vector."""
    z = torch.zeros_like(like, requires_grad=False)
    z[path] = 1.0
    return z


def build_scoring(score_dtype: Optional[str], score_share: float) -> Scoring:
    """Check the options of scoring and build it.

    Raises:
        ConfigError: If an option is out of range.
    """
    if score_dtype is not None and score_dtype not in SCORE_DTYPES:
        raise ConfigError(
            f"estimator_conf: score_dtype is {score_dtype!r}; accepted are: "
            f"{', '.join(SCORE_DTYPES)}"
        )
    number = isinstance(score_share, (int, float)) and type(score_share) is not bool
    if not number or not 0.0 < score_share <= 1.0:
        raise ConfigError(
            f"estimator_conf: score_share is {score_share!r}; accepted is a number "
            "above 0, up to 1"
        )
    dtype = None if score_dtype is None else SCORE_DTYPES[score_dtype]
    return Scoring(dtype, float(score_share))
