"""Estimation of label LMs: smoothed n-gram models, pruned by count. No torch.

Chen and Goodman, An Empirical Study of Smoothing Techniques for Language Modeling,
1998: interpolated models, with modified Kneser-Ney (kn) or Witten-Bell (wb) smoothing.
``none`` does not smooth: relative frequencies, and labels that never followed a kept
history have probability 0 after it, as in the label LMs that Kaldi estimates for
LF-MMI and the toolkit of the CTC-CRF paper for CTC-CRF.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from espnet_stnas.ctc_crf.arpa import BEGIN, END, Entry, Ngram
from espnet_stnas.errors import ConfigError

SMOOTHINGS = ("kn", "wb", "none")
MAX_ORDER = 6
# KenLM takes these with --discount_fallback, for counts that no natural text has, such
# as those of phones, none of which occurs just once.
_FALLBACK = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class EstimationOptions:
    """Order, smoothing and pruning of a label LM.

    Args:
        order: Labels of the longest n-grams.
        smoothing: ``kn``, ``wb`` or ``none``.
        min_counts: An n-gram is kept if it occurs this often, for each order; the last
            number stands for all longer ones. Unigrams are always kept.

    Raises:
        ConfigError: If a value cannot be honoured.
    """

    order: int = 4
    smoothing: str = "kn"
    min_counts: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        if not 1 <= self.order <= MAX_ORDER:
            raise ConfigError(
                f"order is {self.order}; accepted is an integer from 1 to {MAX_ORDER}"
            )
        if self.smoothing not in SMOOTHINGS:
            raise ConfigError(
                f"smoothing is '{self.smoothing}'; accepted are: "
                f"{', '.join(SMOOTHINGS)}"
            )
        counts = self.min_counts
        good = 1 <= len(counts) <= self.order and min(counts) >= 1
        # Otherwise, an n-gram could be kept without its history.
        if not good or list(counts) != sorted(counts):
            raise ConfigError(
                f"min_counts is {' '.join(map(str, counts)) or 'empty'}; accepted are "
                f"1 to {self.order} integers of 1 or more, none smaller than the one "
                "before it"
            )

    def min_count(self, n: int) -> int:
        """Look up how often an n-gram of ``n`` labels must occur to be kept."""
        return self.min_counts[min(n, len(self.min_counts)) - 1] if n > 1 else 1


def estimate(
    sentences: Iterable[Sequence[str]],
    labels: Sequence[str],
    options: EstimationOptions,
) -> dict[Ngram, Entry]:
    """Estimate an n-gram model.

    Args:
        sentences: Label sequences, without ``<s>`` and ``</s>``.
        labels: All labels. With smoothing, each gets a probability, seen or not.
        options: Order, smoothing and pruning.

    Returns:
        The n-grams of an ARPA file. After each history, the probabilities of all
        labels and ``</s>`` sum to 1.

    Raises:
        ConfigError: If there is no sentence, or one has a label that is not known.
    """
    raw = _count(sentences, options.order)
    known = {*labels, END}
    strange = [ngram[0] for ngram in raw[0] if ngram[0] not in known]
    if strange:
        raise ConfigError(
            f"the text has the label '{strange[0]}', which is not in the token list"
        )
    smoothed = options.smoothing != "none"
    counts = _continuations(raw) if options.smoothing == "kn" else raw
    ngrams: dict[Ngram, Entry] = {}
    # p(w | h) of the shorter histories, to interpolate with.
    lower: dict[Ngram, float] = {}
    floor = 1.0 / (len(labels) + 1)
    for n in range(1, options.order + 1):
        off = (0.0, *discounts(counts[n - 1], n, options.smoothing))
        followers = _by_history(counts[n - 1])
        current: dict[Ngram, float] = {}
        for history, found in followers.items():
            least = options.min_count(n)
            kept = {
                w: c for w, c in found.items() if raw[n - 1][(*history, w)] >= least
            }
            if not kept:
                continue
            if not smoothed and n > 1 and len(kept) < len(found):
                # Without smoothing, a label that is left out has no probability: all
                # labels of the history are kept, or none.
                kept = found
            total = sum(found.values())
            if options.smoothing == "wb":
                total += len(found)
            backoff = 1.0 - sum(c - off[min(c, 3)] for c in kept.values()) / total
            backoff = max(backoff, 0.0) if smoothed else 0.0
            for w, c in kept.items():
                below = lower[(*history[1:], w)] if n > 1 else floor
                p = (c - off[min(c, 3)]) / total + backoff * below
                current[(*history, w)] = p
            _set_backoff(ngrams, history, backoff)
            if n == 1:
                rest = [w for w in (*labels, END) if w not in kept]
                current.update(((w,), backoff * floor) for w in rest if smoothed)
        for ngram, p in current.items():
            ngrams[ngram] = Entry(math.log(p)) if p > 0.0 else Entry(-math.inf)
        lower = current
        ngrams.setdefault((BEGIN,), Entry(-math.inf))
    return ngrams


def _count(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[Ngram]]:
    """Count the n-grams of orders 1, 2, ..."""
    counts: list[Counter[Ngram]] = [Counter() for _ in range(order)]
    for labels in sentences:
        if BEGIN in labels or END in labels:
            raise ConfigError(
                f"the text has the label {BEGIN} or {END}, which stand for the begin "
                "and the end of a sentence in a label LM; take another name"
            )
        padded = (BEGIN, *labels, END)
        for n, counter in enumerate(counts, start=1):
            counter.update(zip(*(padded[i:] for i in range(n)), strict=False))
    if not counts[0]:
        raise ConfigError("the text has no line, so there is nothing to estimate from")
    # <s> is a history, never a label.
    del counts[0][(BEGIN,)]
    return counts


def _continuations(raw: Sequence[Counter[Ngram]]) -> list[Counter[Ngram]]:
    """Count as Kneser-Ney do: below the highest order, the labels that come before.

    Nothing comes before ``<s>``: n-grams that begin with it keep their counts.
    """
    counts = [
        Counter({ngram: c for ngram, c in counter.items() if ngram[0] == BEGIN})
        for counter in raw[:-1]
    ]
    for counter, longer in zip(counts, raw[1:], strict=True):
        counter.update(ngram[1:] for ngram in longer)
    return [*counts, raw[-1]]


def _by_history(counts: Mapping[Ngram, int]) -> dict[Ngram, dict[str, int]]:
    followers: defaultdict[Ngram, dict[str, int]] = defaultdict(dict)
    for ngram, count in counts.items():
        followers[ngram[:-1]][ngram[-1]] = count
    return followers


def discounts(
    counts: Mapping[Ngram, int], n: int, smoothing: str
) -> tuple[float, float, float]:
    """Compute discounts of counts of 1, 2, and 3 or more (Chen and Goodman, eq. 26).

    Args:
        counts: Counts of all n-grams of an order.
        n: The order, for a message.
        smoothing: As in :class:`EstimationOptions`.
    """
    if smoothing != "kn":
        return 0.0, 0.0, 0.0
    number = Counter(counts.values())
    if number[1] and number[2] and number[3]:
        y = number[1] / (number[1] + 2 * number[2])
        d1, d2, d3 = (c - (c + 1) * y * number[c + 1] / number[c] for c in (1, 2, 3))
        if 0.0 < d1 < 1 and 0.0 < d2 < 2 and 0.0 < d3 < 3:
            return d1, d2, d3
    logging.info(f"The counts of {n}-grams give no discounts; taking {_FALLBACK}")
    return _FALLBACK


def _set_backoff(ngrams: dict[Ngram, Entry], history: Ngram, backoff: float) -> None:
    if history:
        log_backoff = math.log(backoff) if backoff > 0.0 else -math.inf
        before = ngrams.get(history, Entry(-math.inf))
        ngrams[history] = before._replace(log_backoff=log_backoff)
