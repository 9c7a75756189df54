"""Label LMs over a few labels, and sums over all paths by brute force.

What these compute shares no code with the package: the rule of ARPA files is written
out, and paths are listed one by one.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

import torch

from espnet_stnas.ctc_crf.arpa import Entry, Ngram
from espnet_stnas.ctc_crf.estimate import EstimationOptions, estimate
from espnet_stnas.ctc_crf.graph import DenominatorGraph, build_graph
from espnet_stnas.ctc_crf.lm import LabelLM

TOKENS = ["<blank>", "a", "b", "c", "<sos/eos>"]
LABELS = TOKENS[1:-1]


def sentences(number: int = 30, longest: int = 6) -> list[list[str]]:
    """Random label sequences, some of them empty, with an 'a' twice as often."""
    draw = random.Random(0)
    return [draw.choices("aabc", k=draw.randint(0, longest)) for _ in range(number)]


def ngrams(order: int, smoothing: str = "kn", least: int = 1) -> dict[Ngram, Entry]:
    """An n-gram model of such sequences."""
    options = EstimationOptions(order, smoothing, (1, least)[: min(order, 2)])
    return estimate(sentences(), LABELS, options)


def graph(model: dict[Ngram, Entry], share: bool | None = None) -> DenominatorGraph:
    """Its graph."""
    return build_graph(LabelLM(model, TOKENS), TOKENS, share)


def only(*labels: str) -> dict[Ngram, Entry]:
    """The model that gives one sequence (of different labels) the probability 1."""
    impossible = Entry(-math.inf, -math.inf)
    model = {(w,): impossible for w in ("<s>", "</s>", *LABELS)}
    following = [*labels, "</s>"]
    model |= {
        pair: Entry(0.0) for pair in zip(["<s>", *labels], following, strict=True)
    }
    return model


def arpa_probability(
    model: dict[Ngram, Entry], history: Sequence[str], label: str
) -> float:
    """p(label | history), as the definition of ARPA files has it."""
    ngram = (*history, label)
    if ngram in model:
        return math.exp(model[ngram].log_prob)
    if not history:
        return 0.0
    known = model.get(tuple(history))
    weight = 1.0 if known is None else math.exp(known.log_backoff)
    return weight * arpa_probability(model, history[1:], label)


def sentence_probability(model: dict[Ngram, Entry], labels: Sequence[str]) -> float:
    """p_LM of a sequence and its end, with the histories of the whole sentence."""
    total, history = 1.0, ["<s>"]
    for label in (*labels, "</s>"):
        total *= arpa_probability(model, history, label)
        history.append(label)
    return total


def collapsed(path: Sequence[int]) -> list[int]:
    """The labels of a CTC path."""
    return [k for k, _ in itertools.groupby(path) if k != 0]


def enumerated(
    model: dict[Ngram, Entry], log_probs: torch.Tensor, labels: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum over all paths of an utterance.

    Args:
        model: The label LM.
        log_probs: Of all its frames (T, V).
        labels: Its labels.

    Returns:
        log of the sum of the probabilities of the labels' paths, and log Z.
    """
    numerator, denominator = [], []
    for path in itertools.product(range(len(LABELS) + 1), repeat=len(log_probs)):
        log_prob = log_probs[range(len(path)), list(path)].sum()
        found = collapsed(path)
        p_lm = sentence_probability(model, [TOKENS[k] for k in found])
        if p_lm > 0:
            denominator.append(log_prob + math.log(p_lm))
        if found == list(labels):
            numerator.append(log_prob)
    return torch.stack(numerator).logsumexp(0), torch.stack(denominator).logsumexp(0)
