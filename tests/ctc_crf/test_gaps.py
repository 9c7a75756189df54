"""Log Z where probabilities differ by more than float64 can hold: as by brute force."""

from __future__ import annotations

import itertools
import math
import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from espnet_stnas.ctc_crf.arpa import Entry, Ngram
from espnet_stnas.ctc_crf.denominator import Denominator
from tests.ctc_crf.models import LABELS, TOKENS, collapsed, graph, ngrams

MEMORY = 1 << 20
MODEL = ngrams(3)


def log_probability(
    model: dict[Ngram, Entry], history: tuple[str, ...], label: str
) -> float:
    """log p(label | history), as the definition of ARPA files has it."""
    ngram = (*history, label)
    if ngram in model:
        return model[ngram].log_prob
    if not history:
        return -math.inf
    known = model.get(history)
    weight = 0.0 if known is None else known.log_backoff
    return weight + log_probability(model, history[1:], label)


def log_z(model: dict[Ngram, Entry], log_probs: torch.Tensor) -> torch.Tensor:
    """By brute force, on logarithms: of an utterance (T, V)."""
    found = [log_probs.new_tensor(-math.inf)]
    for path in itertools.product(range(len(LABELS) + 1), repeat=len(log_probs)):
        sentence = ["<s>", *(TOKENS[k] for k in collapsed(path)), "</s>"]
        score = sum(
            log_probability(model, tuple(sentence[:n]), sentence[n])
            for n in range(1, len(sentence))
        )
        if score > -math.inf:
            found.append(log_probs[range(len(path)), list(path)].sum() + score)
    return torch.stack(found).logsumexp(0)


def random_model(draw: random.Random, order: int, gap: float) -> dict[Ngram, Entry]:
    """N-grams with logarithms of -gap at least; they need not sum to 1."""

    def entry() -> Entry:
        impossible = draw.random() < 0.1
        log_backoff = -math.inf if draw.random() < 0.1 else gap * (0.3 - draw.random())
        log_prob = -math.inf if impossible else -gap * draw.random()
        return Entry(log_prob, min(log_backoff, 5.0))

    model = {(w,): entry() for w in ("<s>", "</s>", *LABELS)}
    known = list(model)
    for _ in range(order - 1):
        known = [
            (*history, w)
            for history in known
            for w in ("</s>", *LABELS)
            if history[-1] != "</s>" and draw.random() < 0.4
        ]
        model |= {ngram: entry() for ngram in known}
    # One label at least is possible.
    model["a",] = Entry(-1.0, model["a",].log_backoff)
    return model


@given(
    seed=st.integers(0, 2**32 - 1),
    order=st.integers(1, 4),
    gap=st.sampled_from((1.0, 30.0, 100.0, 400.0, 2000.0)),
    logit_gap=st.sampled_from((1.0, 50.0, 400.0, 5000.0)),
    frames=st.integers(1, 4),
    share=st.sampled_from((True, False, None)),
    memory=st.sampled_from((MEMORY, 0)),
)
def test_any_gap(seed, order, gap, logit_gap, frames, share, memory):
    """Value and gradient, of label LMs and logits of any scale."""
    model = random_model(random.Random(seed), order, gap)
    noise = torch.Generator().manual_seed(seed)
    logits = torch.randn(
        2, frames, len(TOKENS), dtype=torch.double, generator=noise
    ).requires_grad_()
    log_probs = (logit_gap * logits).log_softmax(2)
    lengths = torch.tensor([frames, (frames + 1) // 2])
    expected = torch.stack(
        [log_z(model, x[:n]) for x, n in zip(log_probs, lengths, strict=True)]
    )
    denominator = Denominator(graph(model, share), torch.device("cpu"), memory)
    found = denominator(log_probs, lengths)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-8)
    possible = ~expected.isneginf()
    gradients = [
        torch.autograd.grad(value[possible].sum(), logits, retain_graph=True)[0]
        / logit_gap
        if possible.any()
        else torch.zeros(())
        for value in (found, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-8)


def test_usual_sizes_need_no_logarithms():
    """Peaked outputs, with or without a smoothed model: no slow path."""
    for model in (MODEL, ngrams(4, "none")):
        logits = 10 * torch.randn(4, 300, len(TOKENS))
        denominator = Denominator(graph(model), torch.device("cpu"))
        assert (
            denominator(logits.log_softmax(2), torch.full((4,), 300)).isfinite().all()
        )
        assert "logarithmic" not in vars(denominator)


def test_one_utterance_that_needs_logarithms_leaves_the_others_alone():
    """Its paths of the label LM are 2000 nats less probable than others."""
    model = {n: Entry(-2000.0) if n[-2:] == ("a", "b") else e for n, e in MODEL.items()}
    usual = torch.randn(2, 6, len(TOKENS), dtype=torch.double)
    logits = torch.cat([usual, torch.full((1, 6, len(TOKENS)), -1e4)]).double()
    for frame, label in enumerate((1, 2, 2, 0, 0, 0)):
        logits[2, frame, label] = 1e4
    log_probs = logits.log_softmax(2).requires_grad_()
    denominator = Denominator(graph(model), torch.device("cpu"))
    found = denominator(log_probs, torch.full((3,), 6))
    assert "logarithmic" in vars(denominator)
    torch.testing.assert_close(found[2], log_z(model, log_probs[2]), rtol=1e-12, atol=0)
    alone = denominator(log_probs[:2], torch.full((2,), 6))
    torch.testing.assert_close(found[:2], alone, rtol=0, atol=0)
    grad = torch.autograd.grad(found.sum(), log_probs)[0]
    torch.testing.assert_close(grad.sum(2), torch.ones(3, 6).double())
    assert grad[2].argmax(1).tolist() == [1, 2, 2, 0, 0, 0]
