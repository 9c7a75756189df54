"""What is known of an architecture with the shared weights of a supernet. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from espnet_stnas.errors import ConfigError

# Names of the measures, and whether more is better.
METRICS = {"loss": False, "error_rate": False, "accuracy": True}


@dataclass(frozen=True)
class Tally:
    """Sums over utterances.

    Args:
        loss: Sum of the losses.
        utterances: Number of utterances.
        errors: Edits (substituted, missing and extra tokens) of greedy decoding.
        tokens: Tokens of the references.
        accuracy: Sum of the accuracies of batches, each times its utterances.
        has_errors: Whether the model has a CTC output, so that errors were counted.
    """

    loss: float
    utterances: float
    errors: int = 0
    tokens: int = 0
    accuracy: Optional[float] = None
    has_errors: bool = False


@dataclass(frozen=True)
class Evaluation:
    """The result of an architecture on a data set.

    Args:
        loss: Mean loss of an utterance, as in ESPnet's validation.
        error_rate: Errors per token of greedy CTC decoding; None without CTC.
        accuracy: Accuracy that the model reports, such as that of an attention decoder;
            None if it reports none.
    """

    loss: float
    error_rate: Optional[float] = None
    accuracy: Optional[float] = None

    @classmethod
    def of(cls, tallies: Iterable[Tally]) -> Evaluation:
        """Return the result of the tallies of all batches.

        Raises:
            ConfigError: If all transcripts are empty.
        """
        all_of_them = list(tallies)
        utterances = sum(t.utterances for t in all_of_them)
        tokens = sum(t.tokens for t in all_of_them)
        if all(t.has_errors for t in all_of_them) and tokens == 0:
            raise ConfigError(
                "the data set has only empty transcripts, in which no errors can be "
                "counted; accepted is a data set with some text"
            )
        rate = None
        if all(t.has_errors for t in all_of_them):
            rate = sum(t.errors for t in all_of_them) / tokens
        accuracies = [t.accuracy for t in all_of_them if t.accuracy is not None]
        accuracy = None
        if len(accuracies) == len(all_of_them):
            accuracy = sum(accuracies) / utterances
        loss = sum(t.loss for t in all_of_them) / utterances
        return cls(loss, rate, accuracy)

    def badness(self, metric: str) -> float:
        """Return a number that is the smaller, the better the architecture is.

        Args:
            metric: ``loss``, ``error_rate`` or ``accuracy``.

        Raises:
            ConfigError: If the model does not have this measure.
        """
        value: Optional[float] = getattr(self, metric)
        if value is None:
            known = [name for name in METRICS if getattr(self, name) is not None]
            raise ConfigError(
                f"the model has no {metric}; accepted are: {', '.join(known)}"
            )
        if math.isnan(value):
            return math.inf
        return -value if METRICS[metric] else value
