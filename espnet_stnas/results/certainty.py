"""Measures how certain a search is of its choices, and finds doubts. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from espnet_stnas.results.architecture import Architecture

# Relative entropy above which a choice counts as not moved. It is 0.98 at .58 : .42 of
# two candidates and at .36 : .21 : .21 : .21 of four. Gradients of noise alone keep
# four candidates above it for about 1000 updates of Adam with the paper's learning rate
# of 0.005: what is above it may well be noise. What is below it need not be more.
UNMOVED = 0.98
# Relative entropy below which a choice counts as collapsed. It is 0.1 where one of four
# candidates has .976: all others together are drawn in one of 40 steps, so that they
# are hardly trained, and the gradient of the logits has a factor pi (1 - pi) of 0.02.
COLLAPSED = 0.1
# A collapse is early in the first third of the epochs of search: two thirds of the
# search can then not change anything.
EARLY = 1 / 3
# From half of the search on, a choice should have moved. There is still time to stop.
LATE = 1 / 2
# Shorter searches, such as a try of one or two epochs, say nothing about either.
FEWEST_EPOCHS = 3
# Epochs at the end in which the arg max is counted.
WINDOW = 10

# Estimators that leave the logits alone by design.
BASELINES = ("uniform",)
_HELP = "docs/search_health.md"


@dataclass(frozen=True)
class SearchPlan:
    """The plan of a search.

    Args:
        estimator: Name of the estimator.
        epochs: Epochs of search after the warm-up, if known.
    """

    estimator: str = "st"
    epochs: Optional[int] = None

    @property
    def learns(self) -> bool:
        """Whether the search trains the logits at all."""
        return self.estimator not in BASELINES


@dataclass(frozen=True)
class Certainty:
    """The certainty of one choice at the end of a history.

    Args:
        layer: Number of the layer, from 1.
        op: The chosen candidate.
        pi: The probabilities of all candidates.
        searched: Number of epochs in which the logits learned.
        unchanged: Number of these epochs, counted back from the last, with the same
            chosen candidate. An epoch with equal highest probabilities has no choice.
        agreed: Number of the last ``WINDOW`` of these epochs with this candidate.
    """

    layer: int
    op: str
    pi: Mapping[str, float]
    searched: int
    unchanged: int
    agreed: int

    @property
    def window(self) -> int:
        """The number of epochs that ``agreed`` is counted over."""
        return min(self.searched, WINDOW)

    @property
    def margin(self) -> float:
        """The probability of the chosen candidate minus the best other probability."""
        return self.pi[self.op] - runner_up(self.pi, self.op)[1]

    @property
    def entropy(self) -> float:
        """The entropy of the probabilities in nats."""
        return entropy(self.pi.values())

    @property
    def relative_entropy(self) -> float:
        """The entropy divided by its largest value, ln K: from 0 to 1."""
        return relative_entropy(self.pi.values())


@dataclass(frozen=True)
class Doubt:
    """A reason to doubt the result of a search.

    Args:
        layer: Number of the layer, from 1.
        kind: ``unmoved`` or ``collapsed``.
        text: A sentence with the value and with advice.
    """

    layer: int
    kind: str
    text: str


def entropy(pi: Iterable[float]) -> float:
    """Return the entropy of probabilities in nats; they may be rounded."""
    pi = list(pi)
    total = math.fsum(pi)
    return -math.fsum(p / total * math.log(p / total) for p in pi if p > 0)


def relative_entropy(pi: Iterable[float]) -> float:
    """Return the entropy divided by its largest value, ln K."""
    pi = list(pi)
    return entropy(pi) / math.log(len(pi))


def margin(pi: Iterable[float]) -> float:
    """Return the largest probability minus the second largest."""
    second, first = sorted(pi)[-2:]
    return first - second


def runner_up(pi: Mapping[str, float], op: str) -> tuple[str, float]:
    """Return the best candidate other than ``op`` (the first of equals)."""
    return max(((k, p) for k, p in pi.items() if k != op), key=lambda item: item[1])


def certainties(history: Sequence[Architecture]) -> list[Certainty]:
    """Return the certainty of every choice at the end of a history.

    Args:
        history: The architectures of consecutive epochs, in order; warm-up is skipped.
    """
    epochs = [list(_choices(a)) for a in searching(history)]
    if not epochs:
        return []
    found = []
    for index, (layer, op, pi) in enumerate(epochs[-1]):
        same = [e[index][1] == op and margin(e[index][2].values()) > 0 for e in epochs]
        changes = [number for number, s in enumerate(same, start=1) if not s]
        found.append(
            Certainty(
                layer,
                op,
                pi,
                searched=len(same),
                unchanged=len(same) - max(changes, default=0),
                agreed=sum(same[-WINDOW:]),
            )
        )
    return found


def doubts(
    history: Sequence[Architecture], plan: SearchPlan, *, ended: bool = False
) -> list[Doubt]:
    """Find reasons to doubt the search at the end of a history.

    Args:
        history: The architectures of consecutive epochs, in order; warm-up is skipped.
        plan: The plan of the search.
        ended: Whether the search has ended, even if more epochs were planned.
    """
    history = searching(history)
    epochs = plan.epochs or len(history)
    if not plan.learns or min(epochs, len(history)) < 1:
        return []
    last = certainties(history)
    found = []
    if len(history) >= FEWEST_EPOCHS and (ended or len(history) >= LATE * epochs):
        found += [_unmoved(c) for c in last if c.relative_entropy > UNMOVED]
    if epochs >= FEWEST_EPOCHS:
        early = history[: math.ceil(EARLY * epochs)]
        for index, c in enumerate(last):
            if c.relative_entropy < COLLAPSED:
                found += _collapsed(index, c, early, epochs)
    return sorted(found, key=lambda doubt: doubt.layer)


def searching(history: Sequence[Architecture]) -> list[Architecture]:
    """Return the epochs in which the logits learned."""
    return [a for a in history if not a.provenance.in_warmup]


def _choices(
    architecture: Architecture,
) -> Iterable[tuple[int, str, Mapping[str, float]]]:
    """Yield layer number, chosen candidate and probabilities of every choice."""
    layers = zip(architecture.space.layers, architecture.decisions(), strict=True)
    for number, (layer, pi) in enumerate(layers, start=1):
        if pi is not None:
            yield number, str(layer.candidates[0]), pi


def _unmoved(c: Certainty) -> Doubt:
    if margin([max(c.pi.values()), min(c.pi.values())]) == 0:
        text = (
            f"layer {c.layer} has not moved from uniform at all in {c.searched} epochs "
            "of search: its logits got no update; look for arch_skipped in the log, "
            f"and whether the lr of optim2_conf is above 0 ({_HELP})"
        )
    else:
        text = (
            f"layer {c.layer} has not moved from uniform: its relative entropy is "
            f"{c.relative_entropy:.4f} after {c.searched} epochs of search, and 1 is "
            "uniform; search for more epochs, or with a larger lr in optim2_conf "
            f"({_HELP})"
        )
    return Doubt(c.layer, "unmoved", text)


def _collapsed(
    index: int, c: Certainty, early: Sequence[Architecture], epochs: int
) -> Iterable[Doubt]:
    for number, architecture in enumerate(early, start=1):
        _, op, pi = list(_choices(architecture))[index]
        value = relative_entropy(pi.values())
        if value < COLLAPSED and op == c.op:
            text = (
                f"layer {c.layer} collapsed early: after epoch {number} of {epochs} of "
                f"the search, {op} had the probability {pi[op]:.3f} (relative entropy "
                f"{value:.3f}), and the others hardly train since then; search with "
                f"a smaller lr in optim2_conf, or after a longer warm-up ({_HELP})"
            )
            yield Doubt(c.layer, "collapsed", text)
            return
