"""The label LM: an n-gram model as a deterministic automaton with back-off. No torch.

ARPA files (Katz 1987) define the probability of a label after a history: the n-gram's,
if there is one, else the back-off weight of the history times the probability after the
history without its first label. A history is a state if it has n-grams or a back-off
weight of its own. The next state is the longest suffix of history and label that is a
state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Optional

from espnet_stnas.ctc_crf.arpa import BEGIN, END, Entry, Ngram
from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote

START: Ngram = (BEGIN,)
# Tokens of ESPnet's token lists that are never labels.
NO_LABELS = ("<blank>", "<sos/eos>", BEGIN, END)


class LabelLM:
    """An n-gram model over labels.

    Args:
        ngrams: The n-grams of an ARPA file.
        labels: The token list.
        name: The file, for errors.

    Raises:
        ConfigError: If the model has a label that is not among ``labels``.

    >>> from espnet_stnas.ctc_crf.estimate import EstimationOptions, estimate
    >>> ngrams = estimate(["ab", "aab"], ["a", "b"], EstimationOptions(order=2))
    >>> lm = LabelLM(ngrams, ["<blank>", "a", "b", "<sos/eos>"])
    >>> lm.score("ab") > lm.score("ba")
    True
    >>> lm.next_state(("<s>",), "a")
    ('a',)
    >>> lm.why_impossible(["a", "c"])
    "label 'c' at place 2 is not in the LM"
    """

    def __init__(
        self, ngrams: Mapping[Ngram, Entry], labels: Sequence[str], name: str = ""
    ) -> None:
        self.ngrams = ngrams
        self._name = name
        self._check(set(labels))
        possible = {n[-1] for n, e in ngrams.items() if e.log_prob > -math.inf}
        self.labels = tuple(w for w in labels if w in possible and w not in NO_LABELS)
        self.order = max(map(len, ngrams))
        self.followers: dict[Ngram, list[str]] = {}
        for ngram in ngrams:
            if len(ngram) > 1:
                self.followers.setdefault(ngram[:-1], []).append(ngram[-1])
        self.states: set[Ngram] = {START, *self.followers}
        self.states |= {h for h, entry in ngrams.items() if entry.log_backoff != 0.0}
        # CTC needs to know the last label, even if the model does not.
        self.states |= {(w,) for w in self.labels}
        self._steps: dict[tuple[Ngram, str], tuple[float, Ngram]] = {}

    def _check(self, labels: set[str]) -> None:
        # Some files have an unknown word, which needs no token.
        spare = {BEGIN, END, "<unk>", "<UNK>"}
        for ngram in self.ngrams:
            for label in ngram:
                if label not in labels and label not in spare:
                    raise ConfigError(
                        f"label LM {self._name} has the label {quote(label)}, which is "
                        "not in the token list; accepted is a model that was estimated "
                        "with this token list"
                    )
            if len(ngram) > 2 and ngram[:-1] not in self.ngrams:
                raise ConfigError(
                    f"label LM {self._name} has the n-gram {quote(' '.join(ngram))}, "
                    "but not the one without its last label; the file is damaged"
                )
        if not any((w,) in self.ngrams for w in labels):
            raise ConfigError(
                f"label LM {self._name} has none of the labels of the token list"
            )

    def parent(self, history: Ngram) -> Ngram:
        """Find the state that a history backs off to, or (), which is no state."""
        shorter = history[1:]
        while shorter and shorter not in self.states:
            shorter = shorter[1:]
        return shorter

    def log_backoff(self, history: Ngram) -> float:
        """Look up the logarithm of a history's back-off weight."""
        entry = self.ngrams.get(history)
        return 0.0 if entry is None else entry.log_backoff

    def log_prob(self, history: Ngram, label: str) -> float:
        """Compute log p(label | history); -inf for labels that the model lacks."""
        log_weight = 0.0
        while True:
            entry = self.ngrams.get((*history, label))
            if entry is not None:
                return log_weight + entry.log_prob
            if not history:
                return -math.inf
            log_weight += self.log_backoff(history)
            history = history[1:]

    def next_state(self, history: Ngram, label: str) -> Ngram:
        """Find the state after a label, or (), if the model lacks the label."""
        longer = (*history, label)
        return longer if longer in self.states else self.parent(longer)

    def _step(self, state: Ngram, label: str) -> tuple[float, Ngram]:
        step = self._steps.get((state, label))
        if step is None:
            step = self.log_prob(state, label), self.next_state(state, label)
            self._steps[state, label] = step
        return step

    def score(self, labels: Iterable[str]) -> float:
        """Compute the log-probability of a sequence of labels and of its end.

        Args:
            labels: The labels, without ``<s>`` and ``</s>``.
        """
        state, total = START, 0.0
        for label in labels:
            log_prob, state = self._step(state, label)
            total += log_prob
        return total + self.log_prob(state, END)

    def why_impossible(self, labels: Sequence[str]) -> Optional[str]:
        """Say why a sequence has the probability 0; None if it has another one."""
        state = START
        for place, label in enumerate((*labels, END), start=1):
            log_prob, following = self._step(state, label)
            if log_prob == -math.inf:
                if label != END and label not in self.labels:
                    return f"label {quote(label)} at place {place} is not in the LM"
                what = "the end" if label == END else f"label {quote(label)}"
                return (
                    f"{what} at place {place} has probability 0 after "
                    f"{quote(' '.join(state))}"
                )
            state = following
        return None

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> tuple[float, int, int]:
        """Compute the perplexity of a text.

        Args:
            sentences: Label sequences, without ``<s>`` and ``</s>``.

        Returns:
            The perplexity per label, where ends of sentences count as labels; the
            number of sentences that count; and the number of sentences that do not,
            since they have the probability 0.
        """
        total, places, number, zero = 0.0, 0, 0, 0
        for labels in sentences:
            score = self.score(labels)
            if score == -math.inf:
                zero += 1
                continue
            total, places, number = total + score, places + len(labels) + 1, number + 1
        return math.exp(-total / places) if places else math.inf, number, zero
