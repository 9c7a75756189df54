"""Estimation, ARPA files and the automaton of the label LM."""

from __future__ import annotations

import gzip
import math

import pytest

from espnet_stnas.ctc_crf import arpa
from espnet_stnas.ctc_crf.arpa import (
    format_arpa,
    inline_arpa,
    parse_arpa,
    parse_inlined,
    read_arpa,
    write_arpa,
)
from espnet_stnas.ctc_crf.decoding.word_lm import read_vocabulary
from espnet_stnas.ctc_crf.estimate import EstimationOptions, discounts, estimate
from espnet_stnas.ctc_crf.lm import START, LabelLM
from espnet_stnas.errors import ConfigError
from tests.ctc_crf.models import (
    LABELS,
    TOKENS,
    arpa_probability,
    ngrams,
    sentence_probability,
    sentences,
)


@pytest.mark.parametrize("least", (1, 2, 4))
@pytest.mark.parametrize("smoothing", ("kn", "wb", "none"))
@pytest.mark.parametrize("order", (1, 2, 3, 5))
def test_probabilities_sum_to_one(order, smoothing, least):
    """After every history that the model knows, and one that it does not."""
    model = ngrams(order, smoothing, least)
    histories = {ngram[:-1] for ngram in model} | {START, ("c", "c", "c", "b")}
    for history in histories:
        total = sum(arpa_probability(model, history, w) for w in (*LABELS, "</s>"))
        assert abs(total - 1) < 1e-12, history
    lm = LabelLM(model, TOKENS)
    for text in sentences():
        expected = sentence_probability(model, text)
        assert expected > 0
        assert math.isclose(lm.score(text), math.log(expected), abs_tol=1e-12)


def test_witten_bell_by_hand():
    """Texts ab, ab, ac; after a: b twice, c once, so that N = 3 and T = 2.

    Unigrams: N = 9 labels and ends, T = 4 kinds, and a floor of 1/4:
    p(b) = (2 + 4/4) / 13; p(b|a) = (2 + 2 p(b)) / 5.
    """
    texts = [["a", "b"], ["a", "b"], ["a", "c"]]
    model = estimate(texts, LABELS, EstimationOptions(2, "wb"))
    p_b = (2 + 4 / 4) / 13
    assert math.isclose(math.exp(model["b",].log_prob), p_b)
    assert math.isclose(math.exp(model["a", "b"].log_prob), (2 + 2 * p_b) / 5)
    assert math.isclose(math.exp(model["a",].log_backoff), 2 / 5)


def test_kneser_ney_by_hand():
    """As above; unigrams count the labels before: a after <s>, b and c after a.

    Ends come after b and c, so that counts are 1, 1, 1, 2 of N = 5. Such small texts
    give no discounts; with 0.5 for 1 and 1 for 2 the back-off weight is
    g = (3 * 0.5 + 1) / 5, p(b) = 0.5 / 5 + g / 4, p(b|a) = (2 - 1) / 3 + 1.5 / 3 p(b).
    """
    texts = [["a", "b"], ["a", "b"], ["a", "c"]]
    model = estimate(texts, LABELS, EstimationOptions(2, "kn"))
    p_b = 0.5 / 5 + 2.5 / 5 / 4
    assert math.isclose(math.exp(model["b",].log_prob), p_b)
    assert math.isclose(math.exp(model["a", "b"].log_prob), 1 / 3 + 0.5 * p_b)


def test_kneser_ney_discounts():
    """Where counts of counts allow it: n1 = 3, n2 = 2, n3 = 1, n4 = 1, Y = 3 / 7."""
    counts = {"ab": 1, "ac": 1, "ba": 1, "bc": 2, "ca": 2, "cb": 3, "cc": 4}
    found = discounts({tuple(k): v for k, v in counts.items()}, 2, "kn")
    y = 3 / 7
    assert found == pytest.approx((1 - 2 * y * 2 / 3, 2 - 3 * y * 1 / 2, 3 - 4 * y))
    assert discounts({("a", "b"): 1}, 2, "kn") == (0.5, 1.0, 1.5)


def test_without_smoothing_frequencies():
    texts = [["a", "b"], ["a", "b"], ["a", "c"]]
    lm = LabelLM(estimate(texts, LABELS, EstimationOptions(2, "none")), TOKENS)
    assert math.isclose(math.exp(lm.score(["a", "b"])), 2 / 3)
    assert lm.score(["b"]) == -math.inf
    assert "'b' at place 1 has probability 0 after '<s>'" in lm.why_impossible(["b"])
    assert "the end at place 2" in lm.why_impossible(["a"])
    assert lm.why_impossible(["a", "c"]) is None


def test_unseen_labels_have_a_probability():
    lm = LabelLM(estimate([["a"]], LABELS, EstimationOptions(3, "kn")), TOKENS)
    assert lm.score(["c", "b"]) > -math.inf


def test_perplexity():
    """Of a uniform choice among three labels and the end: 4."""
    model = estimate([[]], LABELS, EstimationOptions(1, "wb"))
    uniform = {n: e._replace(log_prob=math.log(0.25)) for n, e in model.items()}
    perplexity, number, zero = LabelLM(uniform, TOKENS).perplexity([["a", "b"], []])
    assert math.isclose(perplexity, 4) and (number, zero) == (2, 0)
    frequencies = LabelLM(ngrams(2, "none"), TOKENS)
    assert frequencies.perplexity([["x"]]) == (math.inf, 0, 1)


@pytest.mark.parametrize("name", ("lm.arpa", "lm.arpa.gz"))
def test_files_keep_the_model(tmp_path, name):
    model = ngrams(3)
    write_arpa(tmp_path / "new" / name, model)
    found = read_arpa(tmp_path / "new" / name)
    assert found.keys() == model.keys()
    for ngram, entry in model.items():
        assert found[ngram] == pytest.approx(entry, abs=1e-8)
    assert [p.name for p in (tmp_path / "new").iterdir()] == [name]
    inlined = inline_arpa(found)
    assert inlined.split() == [inlined]
    assert parse_inlined(inlined, "") == found


def test_files_of_other_tools():
    """Spaces for tabs, no back-off weights at all, text before the head."""
    text = (
        "made by hand\n\n\\data\\\nngram 1=3\nngram 2=2\n\n\\1-grams:\n-99 <s>\n"
        "-0.30103 </s>\n-0.30103 a -0.5\n\n\\2-grams:\n0 <s> a\n-1\ta </s>\n\n\\end\\\n"
    )
    model = parse_arpa(text, "x")
    assert model["<s>",].log_prob == -math.inf
    assert math.isclose(model["a",].log_backoff, -0.5 * math.log(10))
    lm = LabelLM(model, TOKENS)
    assert math.isclose(lm.score(["a"]), -math.log(10))
    assert lm.labels == ("a",)


GOOD = format_arpa(ngrams(2))


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "has no head"),
        ("{}", "has no head"),
        (GOOD[:-40], "damaged|accepted are"),
        (GOOD.replace("\\end\\", ""), "ends before all of its n-grams"),
        (GOOD.replace("ngram 2=", "ngram 2=1"), "the head of the file says"),
        (GOOD.replace("ngram 2", "ngram 3"), "out of place"),
        (GOOD.replace("\\2-grams", "\\4-grams"), "out of place"),
        (GOOD.replace("\ta b", "\ta b c d"), "accepted are a log10 probability"),
        (GOOD.replace("\ta b", "\ta a"), "is there twice"),
        (GOOD.replace("\\1-grams:\n-", "\\1-grams:\n+"), "accepted are a log10"),
        (GOOD.replace("\\1-grams:\n-", "\\1-grams:\nnan "), "accepted are a log10"),
    ],
)
def test_damaged_files_are_refused(text, problem):
    with pytest.raises(ConfigError, match=problem):
        parse_arpa(text, "x")


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzip", "plain"])
@pytest.mark.parametrize(
    ("limit", "content"),
    [
        (None, b"\\data\\\nngram 1=1\n\n\\1-grams:\n" + b"x" * 20_000),
        ("_MOST_LINES", b"\n" * 200),
        ("_MOST_BYTES", b"preface\n" * 20),
    ],
)
@pytest.mark.parametrize("read", [read_arpa, read_vocabulary])
def test_what_is_unpacked_is_limited(tmp_path, monkeypatch, read, limit, content, pack):
    """An archive of kilobytes may hold gigabytes; nothing is read beyond a limit."""
    if limit is not None:
        monkeypatch.setattr(arpa, limit, 100)
    (tmp_path / "lm").write_bytes(pack(content))
    with pytest.raises(ConfigError, match=r"LM .*lm is too large.* as line \d+ shows"):
        read(tmp_path / "lm")


def test_a_head_that_promises_too_much():
    text = "\\data\\\nngram 1=3000000\nngram 2=3000000\n"
    with pytest.raises(ConfigError, match="label LM x has 6000000 n-grams and more"):
        parse_arpa(text, "x")


def test_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "lm.arpa.gz"
    with pytest.raises(ConfigError, match="does not exist"):
        read_arpa(path)
    path.write_bytes(gzip.compress(GOOD.encode())[:-30])
    with pytest.raises(ConfigError, match="is damaged"):
        read_arpa(path)
    path.write_bytes(b"\x80\x81")
    with pytest.raises(ConfigError, match="is damaged"):
        read_arpa(path)
    with pytest.raises(ConfigError, match="is damaged"):
        parse_inlined(inline_arpa(ngrams(1))[:-7], "x")


def test_models_of_other_labels_are_refused():
    with pytest.raises(ConfigError, match="'c', which is not in the token list"):
        LabelLM(ngrams(2), ["<blank>", "a", "b", "<sos/eos>"], "x")
    with pytest.raises(ConfigError, match="none of the labels"):
        LabelLM({("</s>",): ngrams(1)["</s>",]}, TOKENS, "x")
    holes = {n: e for n, e in ngrams(3).items() if n != ("a", "b")}
    with pytest.raises(ConfigError, match="but not the one without its last label"):
        LabelLM(holes, TOKENS, "x")


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"order": 0}, "order is 0"),
        ({"smoothing": "good"}, "smoothing is 'good'"),
        ({"min_counts": (2, 1)}, "min_counts is 2 1"),
        ({"min_counts": ()}, "min_counts is empty"),
        ({"order": 1, "min_counts": (1, 1)}, "accepted are 1 to 1"),
    ],
)
def test_options_are_checked(options, problem):
    with pytest.raises(ConfigError, match=problem):
        EstimationOptions(**options)


def test_texts_are_checked():
    options = EstimationOptions(2)
    with pytest.raises(ConfigError, match="has no line"):
        estimate([], LABELS, options)
    with pytest.raises(ConfigError, match="'x', which is not in the token list"):
        estimate([["a", "x"]], LABELS, options)
    with pytest.raises(ConfigError, match="stand for the begin"):
        estimate([["a", "<s>"]], LABELS, options)
