"""The ESPnet model `ctc_crf`: as `espnet`, but for the loss."""

from __future__ import annotations

import argparse
import logging
import math

import pytest
import torch
from espnet2.tasks.asr import ASRTask

import espnet_stnas  # noqa: F401  (registers the model)
from espnet_stnas.ctc_crf.arpa import inline_arpa, write_arpa
from espnet_stnas.ctc_crf.estimate import EstimationOptions, estimate
from espnet_stnas.errors import ConfigError
from tests.ctc_crf.models import (
    LABELS,
    TOKENS,
    enumerated,
    ngrams,
    sentence_probability,
)

LM = ngrams(3)
INLINED = inline_arpa(LM)


def build(model: str = "ctc_crf", **changes: object) -> torch.nn.Module:
    """A model with an encoder of a few dimensions, in float64, without dropout."""
    model_conf = {"ctc_weight": 1.0, **changes.pop("model_conf", {})}
    if model == "ctc_crf":
        model_conf.setdefault("crf_lm", INLINED)
    torch.manual_seed(0)
    args = argparse.Namespace(
        token_list=changes.pop("token_list", TOKENS),
        input_size=3,
        specaug=None,
        normalize=None,
        encoder="stnas",
        encoder_conf={"width": 4, "dropout_rate": 0.0, "layers": ["tdnn-C1D1"]},
        decoder=changes.pop("decoder", None),
        decoder_conf={"num_blocks": 1, "linear_units": 4, "attention_heads": 1},
        ctc_conf=changes.pop("ctc_conf", {}),
        model=model,
        model_conf=model_conf,
        init=None,
    )
    return ASRTask.build_model(args).double()


def batch(texts: tuple[tuple[int, ...], ...] = ((1, 1, 2), (3,))) -> dict:
    """Two utterances of 5 and 4 frames; the padding of texts is -1, as in ESPnet."""
    generator = torch.Generator().manual_seed(1)
    longest = max(map(len, texts))
    return {
        "speech": torch.randn(2, 5, 3, dtype=torch.double, generator=generator),
        "speech_lengths": torch.tensor([5, 4]),
        "text": torch.tensor([[*t, *[-1] * (longest - len(t))] for t in texts]),
        "text_lengths": torch.tensor([len(text) for text in texts]),
        "utt_id": ["first", "second"],
    }


def test_loss_and_reports_against_enumeration():
    model = build(model_conf={"ctc_crf_lambda": 0.2})
    loss, stats, weight = model(**batch())
    with torch.no_grad():
        out, lengths = model.encode(batch()["speech"], batch()["speech_lengths"])
        log_probs = model.ctc.log_softmax(out)
    expected = dict.fromkeys(("loss_ctc", "crf_denominator", "crf_lm"), 0.0)
    for number, text in enumerate(([1, 1, 2], [3])):
        found = enumerated(LM, log_probs[number, : lengths[number]], text)
        p_lm = sentence_probability(LM, [TOKENS[k] for k in text])
        expected["loss_ctc"] -= found[0].item() / 2
        expected["crf_denominator"] += found[1].item() / 2
        expected["crf_lm"] += math.log(p_lm) / 2
    expected["crf_numerator"] = expected["crf_lm"] - expected["loss_ctc"]
    expected["loss"] = expected["crf_denominator"] - expected["crf_numerator"]
    expected["loss"] += 0.2 * expected["loss_ctc"]
    expected["loss_ctc_crf"] = expected["loss"]
    expected |= {"crf_skipped": 0.0, "crf_lambda": 0.2}
    assert loss.item() == pytest.approx(expected["loss"], abs=1e-6)
    for name, value in expected.items():
        assert stats[name].shape == (1,), name
        assert stats[name].item() == pytest.approx(value, abs=1e-6), name
    assert weight.item() == 2
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_weights_and_inference_are_those_of_espnet():
    """The same names, the same start, the same scores; no LM in the weights."""
    plain, model = build("espnet"), build()
    state = model.state_dict()
    assert list(state) == list(plain.state_dict())
    for name, value in plain.state_dict().items():
        assert torch.equal(value, state[name]), name
    out = torch.randn(1, 3, 4, dtype=torch.double)
    assert torch.equal(plain.ctc.log_softmax(out), model.ctc.log_softmax(out))
    assert torch.equal(plain.ctc.argmax(out), model.ctc.argmax(out))


def test_scores_of_texts_stay_per_utterance():
    """What ESPnet asks for with reduce = False; divided by B, as its own."""
    model = build().eval()
    inputs = batch()
    del inputs["utt_id"]
    losses = model._calc_batch_ctc_loss(**inputs)
    loss, _, _ = model(**inputs)
    assert losses.shape == (2,)
    torch.testing.assert_close(losses.sum(), loss[0])


def test_hybrid_with_attention():
    model = build(decoder="transformer", model_conf={"ctc_weight": 0.3})
    loss, stats, _ = model(**batch())
    expected = 0.3 * stats["loss_ctc_crf"] + 0.7 * stats["loss_att"]
    torch.testing.assert_close(loss, expected.double())
    assert stats["loss_ctc"] > 0


def test_inference_needs_no_label_lm(tmp_path):
    """It is read when the first loss is computed."""
    missing = str(tmp_path / "gone.arpa.gz")
    model = build(model_conf={"crf_lm": missing})
    assert model.encode(torch.randn(1, 5, 3).double(), torch.tensor([5]))[0].numel()
    with pytest.raises(ConfigError, match=r"gone\.arpa\.gz does not exist"):
        model(**batch())
    write_arpa(missing, LM)
    model(**batch())


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16))
def test_mixed_precision(dtype):
    """The loss is of float32 and finite, and so are gradients."""
    model = build().float()
    inputs = batch()
    inputs["speech"] = inputs["speech"].float()
    with torch.autocast("cpu", dtype=dtype):
        loss, _, _ = model(**inputs)
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    torch.testing.assert_close(loss, model(**inputs)[0], rtol=2e-2, atol=2e-2)


def test_weights_of_float32_keep_the_label_lm_exact():
    """ESPnet casts a model to train_dtype; probabilities of the LM stay float64."""
    model = build().float().double()
    torch.testing.assert_close(model(**batch())[1], build()(**batch())[1])


def test_utterances_without_a_loss_are_left_out():
    """More labels than frames."""
    good, _, _ = build()(**batch())
    loss, stats, _ = build()(**batch(((1, 1, 2), (3, 3, 3))))
    assert loss.isfinite().all() and stats["crf_skipped"] == 0.5
    assert loss < good


def test_texts_that_the_label_lm_excludes(caplog):
    """An error in training, that names utterance and label; left out in validation."""
    lm = estimate([["a", "b"]], LABELS, EstimationOptions(2, "none"))
    model = build(model_conf={"crf_lm": inline_arpa(lm)})
    with pytest.raises(ConfigError, match="utterance second: label 'c' at place 1"):
        model(**batch(((1, 2), (3, 1))))
    inputs = batch(((1, 2), (3, 1)))
    inputs["utt_id"] = ["of", "all", "replicas"]
    with pytest.raises(ConfigError, match="utterance of a batch: label 'c'"):
        model(**inputs)
    with caplog.at_level(logging.WARNING):
        _, stats, _ = model.eval()(**inputs)
    assert stats["crf_skipped"] == 0.5


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"model_conf": {"crf_lm": None}}, "crf_lm is None; accepted is a label LM"),
        ({"model_conf": {"crf_lm": ["x"]}}, "accepted is a label LM"),
        ({"model_conf": {"ctc_crf_lambda": -1}}, "ctc_crf_lambda is -1"),
        ({"model_conf": {"ctc_crf_lambda": "0.1"}}, "ctc_crf_lambda is '0.1'"),
        ({"model_conf": {"ctc_crf_lambda": True}}, "ctc_crf_lambda is True"),
        ({"model_conf": {"ctc_crf_lambda": math.inf}}, "ctc_crf_lambda is inf"),
        ({"model_conf": {"ctc_weight": 0.0}, "decoder": "transformer"}, "ctc_weight"),
        ({"model_conf": {"aux_ctc": {"1": "x"}}}, "aux_ctc"),
        ({"ctc_conf": {"ctc_type": "builtin2"}}, "accepts only 'builtin'"),
        ({"token_list": ["a", "<blank>", "b", "c", "<sos/eos>"]}, "in place 1"),
    ],
)
def test_options_are_checked(changes, problem):
    with pytest.raises(ConfigError, match=problem):
        build(**changes)


def test_label_lm_of_another_token_list():
    model = build(token_list=["<blank>", "a", "b", "x", "<sos/eos>"])
    with pytest.raises(ConfigError, match="'c', which is not in the token list"):
        model(**batch())
