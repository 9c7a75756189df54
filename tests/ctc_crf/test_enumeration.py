"""The loss and its gradient against brute force over all paths, in float64."""

from __future__ import annotations

import math

import pytest
import torch

from espnet_stnas.ctc_crf.denominator import Denominator
from espnet_stnas.ctc_crf.lm import LabelLM
from espnet_stnas.ctc_crf.loss import CTCCRFLoss
from tests.ctc_crf.models import (
    TOKENS,
    enumerated,
    graph,
    ngrams,
    sentence_probability,
)

# Labels and frames of a batch: a repeated label, and none at all.
BATCH = (([1, 1], 5), ([3, 1, 2], 4), ([], 3))
LAMBDA = 0.1
MODELS = {
    "unigram": ngrams(1),
    "bigram": ngrams(2),
    "trigram": ngrams(3),
    "4-gram": ngrams(4),
    "trigram, Witten-Bell": ngrams(3, "wb"),
    "4-gram, pruned": ngrams(4, "kn", 3),
    "trigram, not smoothed": ngrams(3, "none"),
    "4-gram, not smoothed, pruned": ngrams(4, "none", 3),
}


@pytest.mark.parametrize("share", (True, False), ids=("shared", "expanded"))
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradient(name, share):
    """Whether states share transitions or not."""
    model = MODELS[name]
    # Where the model is not smoothed, of labels that it knows.
    batch = [
        (labels, frames)
        for labels, frames in BATCH
        if sentence_probability(model, [TOKENS[k] for k in labels]) > 0
    ]
    logits = torch.randn(5, len(batch), len(TOKENS), dtype=torch.double)
    logits = (3 * logits).requires_grad_()
    log_probs = logits.log_softmax(2)
    expected = torch.zeros((), dtype=torch.double)
    for number, (labels, frames) in enumerate(batch):
        paths, total = enumerated(model, log_probs[:frames, number], labels)
        p_lm = sentence_probability(model, [TOKENS[k] for k in labels])
        assert paths + math.log(p_lm) < total
        expected = expected + (total - paths - math.log(p_lm) - LAMBDA * paths)
    lm = LabelLM(model, TOKENS)
    terms = CTCCRFLoss(graph(model, share), LAMBDA)(
        log_probs,
        torch.tensor([frames for _, frames in batch]),
        torch.tensor([k for labels, _ in batch for k in labels], dtype=torch.long),
        torch.tensor([len(labels) for labels, _ in batch]),
        torch.tensor(
            [lm.score([TOKENS[k] for k in ks]) for ks, _ in batch], dtype=torch.double
        ),
    )
    assert terms.valid.all()
    found = terms.loss.sum()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    gradients = [
        torch.autograd.grad(value, logits, retain_graph=True)[0]
        for value in (found, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("memory", (1 << 20, 0), ids=("kept", "computed twice"))
@pytest.mark.parametrize("name", ("unigram", "4-gram", "trigram, not smoothed"))
def test_log_z(name, memory):
    """To the last digits, however much memory it may use."""
    model = MODELS[name]
    logits = torch.randn(2, 5, len(TOKENS), dtype=torch.double, requires_grad=True)
    log_probs = logits.log_softmax(2)
    lengths = [5, 3]
    expected = torch.stack(
        [enumerated(model, log_probs[b, :n], [])[1] for b, n in enumerate(lengths)]
    )
    denominator = Denominator(graph(model), torch.device("cpu"), memory)
    found = denominator(log_probs, torch.tensor(lengths))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    weights = torch.tensor([1.0, -2.5], dtype=torch.double)
    gradients = [
        torch.autograd.grad((weights * value).sum(), logits, retain_graph=True)[0]
        for value in (found, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-13)


@pytest.mark.parametrize("memory", (1 << 20, 0))
@pytest.mark.parametrize("share", (True, False))
def test_gradcheck(share, memory):
    denominator = Denominator(
        graph(MODELS["trigram"], share), torch.device("cpu"), memory
    )
    logits = torch.randn(2, 7, len(TOKENS), dtype=torch.double, requires_grad=True)
    lengths = torch.tensor([7, 4])
    assert torch.autograd.gradcheck(
        lambda x: denominator(x.log_softmax(2), lengths), (logits,)
    )


def test_products_without_compressed_rows(monkeypatch):
    """As where torch is built without them."""
    from espnet_stnas.ctc_crf import sparse

    log_probs = torch.randn(2, 6, len(TOKENS), dtype=torch.double).log_softmax(2)
    log_probs.requires_grad_()
    lengths = torch.tensor([6, 5])
    results = []
    for known in (True, False):
        monkeypatch.setattr(sparse, "has_compressed_rows", lambda device, k=known: k)
        denominator = Denominator(graph(MODELS["4-gram"], True), torch.device("cpu"))
        log_z = denominator(log_probs, lengths)
        results.append((log_z, *torch.autograd.grad(log_z.sum(), log_probs)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-13)
