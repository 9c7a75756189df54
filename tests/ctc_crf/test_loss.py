"""Properties of the loss that hold at any size."""

from __future__ import annotations

import math

import pytest
import torch

from espnet_stnas.ctc_crf.denominator import Denominator
from espnet_stnas.ctc_crf.lm import LabelLM
from espnet_stnas.ctc_crf.loss import CTCCRFLoss, LossTerms, required_frames
from tests.ctc_crf.models import LABELS, TOKENS, graph, ngrams, only

MODEL = ngrams(3)
# A repeated label, as many labels as frames, none at all.
TEXTS = [[1, 1, 2], [2, 3, 1, 2], []]
FRAMES = [9, 4, 6]


def score(
    logits: torch.Tensor,
    frames: list[int],
    texts: list[list[int]],
    model: dict = MODEL,
    ctc_weight: float = 0.1,
) -> LossTerms:
    """The loss of a batch of logits (B, T, V)."""
    lm = LabelLM(model, TOKENS)
    return CTCCRFLoss(graph(model), ctc_weight)(
        logits.log_softmax(2).transpose(0, 1),
        torch.tensor(frames),
        torch.tensor([k for text in texts for k in text], dtype=torch.long),
        torch.tensor([len(text) for text in texts]),
        torch.tensor(
            [lm.score([TOKENS[k] for k in text]) for text in texts], dtype=torch.double
        ),
    )


def gradient(logits: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
    """That of the sum of all losses with respect to the logits (B, T, V)."""
    logits = logits.detach().requires_grad_()
    return torch.autograd.grad(score(logits, *args, **kwargs).loss.sum(), logits)[0]


def random_logits(dtype: torch.dtype = torch.double) -> torch.Tensor:
    return torch.randn(len(FRAMES), max(FRAMES), len(TOKENS), dtype=dtype)


def test_one_allowed_sequence_is_ctc():
    """Then Z is the sum over the paths of that sequence, and CTC-CRF alone is 0."""
    logits = random_logits()[:1]
    model = only("a", "b", "c")
    terms = score(logits, [9], [[1, 2, 3]], model, ctc_weight=0.3)
    torch.testing.assert_close(terms.lm, torch.zeros(1, dtype=torch.double))
    torch.testing.assert_close(terms.denominator, -terms.ctc)
    torch.testing.assert_close(terms.loss, 0.3 * terms.ctc)
    found = gradient(logits, [9], [[1, 2, 3]], model, ctc_weight=1.0)
    log_probs = logits.requires_grad_().log_softmax(2).transpose(0, 1)
    ctc = torch.nn.functional.ctc_loss(
        log_probs, torch.tensor([[1, 2, 3]]), [9], [3], reduction="sum"
    )
    torch.testing.assert_close(found, torch.autograd.grad(ctc, logits)[0])


def test_denominator_is_the_larger_one():
    for scale in (0.1, 1.0, 10.0, 1000.0):
        terms = score(scale * random_logits(), FRAMES, TEXTS)
        assert (terms.numerator <= terms.denominator + 1e-9).all()


def test_gradients_of_frames_sum_to_zero():
    """Symbols are counted once per frame, in numerator and denominator alike."""
    found = gradient(random_logits(), FRAMES, TEXTS, ctc_weight=0.0)
    assert found.sum(2).abs().max() < 1e-12
    assert found.abs().max() > 1e-3


def test_padding_and_order_do_not_matter():
    logits = random_logits()
    reference = score(logits, FRAMES, TEXTS), gradient(logits, FRAMES, TEXTS)
    junk = torch.cat([logits, torch.randn_like(logits)], dim=1)
    for number, frames in enumerate(FRAMES):
        junk[number, frames:] = 1e4 * torch.randn(1)
        junk[number, frames:, 1] = math.nan
    order = [2, 0, 1]
    frames, texts = [FRAMES[i] for i in order], [TEXTS[i] for i in order]
    found = score(junk[order], frames, texts)
    torch.testing.assert_close(found.loss, reference[0].loss[order])
    # What is not a number in the padding is the business of the softmax.
    junk[:, :, 1].nan_to_num_(nan=7.0)
    grad = gradient(junk[order], frames, texts)
    for place, number in enumerate(order):
        length = FRAMES[number]
        torch.testing.assert_close(grad[place, :length], reference[1][number, :length])
        assert (grad[place, length:] == 0).all()


def test_one_bad_utterance_leaves_the_others_alone():
    """More labels than frames hold: no loss and no gradient, as with zero_infinity."""
    logits = random_logits()
    texts = [[1, 1, 2], [2, 2, 1, 2], []]
    terms = score(logits, FRAMES, texts)
    assert terms.valid.tolist() == [True, False, True]
    assert terms.loss[1] == 0 and terms.ctc[1] == 0
    reference = score(logits, FRAMES, TEXTS)
    torch.testing.assert_close(terms.loss[[0, 2]], reference.loss[[0, 2]])
    grad = gradient(logits, FRAMES, texts)
    assert (grad[1] == 0).all()
    torch.testing.assert_close(
        grad[[0, 2]], gradient(logits, FRAMES, TEXTS)[[0, 2]], rtol=0, atol=0
    )


def test_impossible_text_and_impossible_frames():
    """p_LM = 0; symbols of probability 0, so that no path is left."""
    model = only("a", "b", "c")
    logits = random_logits()
    logits[2, 1] = -math.inf
    logits[2, 1, 3] = 0.0  # c alone: too early in the only sequence there is
    terms = score(logits, FRAMES, [[1, 2, 3], [1], [1, 2, 3]], model)
    assert terms.valid.tolist() == [True, False, False]
    assert terms.loss.isfinite().all()
    logits = logits.requires_grad_()
    log_probs = logits.log_softmax(2)
    denominator = Denominator(graph(model), torch.device("cpu"))
    log_z = denominator(log_probs, torch.tensor(FRAMES))
    assert log_z[2] == -math.inf
    (grad,) = torch.autograd.grad(log_z[:2].sum(), log_probs)
    assert grad.isfinite().all()


def test_what_is_no_number_is_not_hidden():
    logits = random_logits()
    logits[1, 2, 3] = math.nan
    loss = score(logits, FRAMES, TEXTS).loss
    assert loss.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize(
    "model, scale", ((MODEL, 1000), (ngrams(2, "none"), 30)), ids=("kn", "none")
)
def test_three_thousand_frames_with_extreme_logits(model, scale):
    """Of float32, one symbol far above all others in every frame, and equal ones."""
    frames, text = 3000, [1, 2, 3, 1, 1] * 100
    logits = torch.randn(2, frames, len(TOKENS))
    logits[0] *= scale
    logits[1] *= 1e-3
    terms = score(logits, [frames, frames], [text, text], model)
    assert terms.valid.all() and terms.loss.isfinite().all()
    assert (terms.numerator <= terms.denominator + 1e-7).all()
    grad = gradient(logits, [frames, frames], [text, text], model)
    assert grad.isfinite().all() and grad[0].abs().max() > 0.5


def test_long_utterances_in_float32():
    """Logits of float32 cost what float32 rounds off once, whatever their scale."""
    frames, text = [3000, 2400, 3000], [1, 2, 3, 1, 1] * 100
    logits = torch.randn(3, 3000, len(TOKENS))
    logits *= torch.tensor([1e-3, 5.0, 1000.0])[:, None, None]
    expected, found = (
        gradient(x, frames, [text] * 3) for x in (logits.double(), logits)
    )
    assert found.dtype == torch.float32
    error = (found - expected).abs().amax((1, 2)) / expected.abs().amax((1, 2))
    # Of sums in float32, the errors were 4e-3, 7e-3 and more than 1/2.
    assert (error < torch.tensor([1e-6, 1e-6, 5e-5])).all()


def test_long_text_and_single_frame():
    text = [1, 2, 3] * 333
    logits = torch.randn(2, 1000, len(TOKENS))
    terms = score(logits, [1000, 1], [text, [1]])
    assert terms.valid.all() and terms.loss.isfinite().all()


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16))
def test_autocast_changes_nothing(dtype):
    """The recursions run in their own precision, whatever surrounds them."""
    logits = random_logits(torch.float32)
    expected = score(logits, FRAMES, TEXTS).loss
    with torch.autocast("cpu", dtype=dtype):
        found = score(logits, FRAMES, TEXTS).loss
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_float32_is_close_to_float64():
    logits = random_logits()
    expected, found = (
        score(x, FRAMES, TEXTS).loss for x in (logits, logits.to(torch.float32))
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    grad = gradient(logits.to(torch.float32), FRAMES, TEXTS)
    assert grad.dtype == torch.float32


def test_required_frames():
    targets = torch.tensor([1, 1, 2, 2, 3])
    labels = torch.tensor([2, 0, 3])
    assert required_frames(targets, labels).tolist() == [3, 0, 4]


def test_a_loss_without_gradient_is_the_same():
    logits = random_logits()
    with torch.no_grad():
        found = score(logits, FRAMES, TEXTS).loss
    torch.testing.assert_close(found, score(logits, FRAMES, TEXTS).loss)


def test_training_finds_the_labels():
    """Plain gradient descent on the logits of an utterance makes it the best path."""
    logits = torch.zeros(1, 7, len(TOKENS), dtype=torch.double)
    for _ in range(60):
        logits = logits - gradient(logits, [7], [[1, 1, 3]])
    best = logits.argmax(2)[0].tolist()
    labels = [k for k, before in zip(best, [0, *best], strict=False) if k != before]
    assert [TOKENS[k] for k in labels if k] == [LABELS[0], LABELS[0], LABELS[2]]
