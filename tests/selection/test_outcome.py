"""What a verification says about errors that are given."""

from __future__ import annotations

import csv
import json
from html import escape

import numpy as np
import pytest

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.report.verified import Verified, read_verified
from espnet_stnas.selection.comparison import Errors
from espnet_stnas.selection.outcome import Outcome, Trained
from espnet_stnas.selection.verification_files import outcome_markdown, write_outcome

UTTERANCES, WORDS = 100, 10


def errors(rate: float, seed: int = 0) -> Errors:
    rng = np.random.default_rng(seed)
    wrong = tuple(rng.binomial(WORDS, rate, UTTERANCES).tolist())
    said = (WORDS,) * UTTERANCES
    names = tuple(f"u{n:03d}" for n in range(UTTERANCES))
    return Errors(names, said, wrong, tuple(3 * w for w in said), wrong)


def trained(name, rate, seed=0, params=1000, epochs=4) -> Trained:
    kinds = {"f": "finalist", "r": "random", "b": "baseline"}
    found = {} if rate is None else {"test": errors(rate, hash_of(name, seed))}
    value = 1.0 if rate is None else rate
    return Trained(
        name, kinds[name[0]], seed, params, epochs, 900.0, "loss", value, found
    )


def hash_of(name: str, seed: int) -> int:
    return sum(map(ord, name)) + 1000 * seed


def outcome(*trainings: Trained, metric: str = "wer") -> Outcome:
    return Outcome(trainings, "f2", ["test"], metric, 3600.0)


def randoms(*rates):
    return [trained(f"r{n}", rate, params=990 + n) for n, rate in enumerate(rates)]


def test_better_than_chance():
    found = outcome(
        trained("f1", None, epochs=1), trained("f2", 0.1), *randoms(0.3, 0.31, 0.32)
    )
    text = "\n".join(found.verdict("test"))
    (chosen, drawn, ended) = found.rows["test"]
    assert (chosen.name, drawn.name, ended.name) == ("f2", "random", "f1")
    assert f"f2 has {chosen.rate.value:.2f} % word errors on test; 3 random" in text
    assert "So the chosen architecture is better than chance." in text
    assert "better than 3 of 3 random ones" in text
    assert "trained once, so another seed is taken" in text
    assert chosen.minus_random.high < 0 and ended.rate is None
    assert (drawn.params, drawn.epochs, drawn.hours) == ([990, 991, 992], 12, 0.75)
    assert "search 1.00, finalists 0.50, what they are compared with 0.75" in (
        found.costs()
    )


def test_worse_and_undecided():
    worse = outcome(trained("f2", 0.5), *randoms(0.2, 0.21, 0.2, 0.2))
    assert "worse than random ones of equal size" in " ".join(worse.verdict("test"))
    undecided = outcome(trained("f2", 0.2), *randoms(0.1, 0.2, 0.3))
    said = " ".join(undecided.verdict("test"))
    assert "not shown" in said and "better than chance." not in said


def test_what_a_verdict_lacks():
    alone = outcome(trained("f2", 0.2), trained("f1", 0.2))
    assert "give --random" in alone.verdict("test")[0]
    assert alone.rows["test"][0].minus_random is None
    once = outcome(trained("f2", 0.1), *randoms(0.3))
    said = " ".join(once.verdict("test"))
    assert "the random architecture has" in said and "give more --seeds" in said
    seeds = [trained("f2", 0.1, seed) for seed in range(3)]
    several = outcome(*seeds, *randoms(0.3, 0.3, 0.31))
    assert "Note" not in " ".join(several.verdict("test"))
    assert len(several.rows["test"][0].single) == 3


def test_seeds_of_random_ones_are_averaged_first():
    drawn = [
        trained(f"r{n}", rate, s) for n, rate in enumerate((0.1, 0.3)) for s in (0, 1)
    ]
    found = outcome(trained("f2", 0.2), *drawn).rows["test"][1]
    assert [round(rate / 10) for rate in found.single] == [1, 3]


def test_files_agree(tmp_path):
    found = outcome(
        trained("f1", None),
        trained("f2", 0.1),
        *randoms(0.3, 0.4, 0.2),
        trained("b1", 0.2),
    )
    files = write_outcome(found, tmp_path)
    assert [f.suffix for f in files] == [".md", ".csv", ".json", ".png"]
    data = json.loads(files[2].read_text())
    rows = list(csv.DictReader(files[1].open()))
    assert [row["name"] for row in rows] == ["f1", "f2", "r0", "r1", "r2", "b1"]
    assert rows[0]["test_wer"] == "" and data["trainings"][0]["test_wer"] is None
    chosen = data["tests"]["test"]["groups"][0]
    assert float(rows[1]["test_wer"]) == pytest.approx(chosen["rate"]["value"])
    table = outcome_markdown(found)
    assert files[0].read_text() == table
    assert f"| {chosen['rate']['value']:.2f} |" in table.replace("  ", " ")
    assert "f1 (ended before)" in table and "990 to 992" in table
    assert files[3].read_bytes().startswith(b"\x89PNG")
    read = read_verified(tmp_path)
    assert read == Verified.from_dict(found.to_dict())
    assert list(read.tests[0].verdict) == found.verdict("test")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"chosen": "a", "metric": "wer"}'])
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / "verification.json").write_text(text)
    with pytest.raises(ConfigError, match="verification .* run stnas verify again"):
        read_verified(tmp_path)


def test_token_errors():
    by_word = outcome(trained("f2", 0.1), *randoms(0.3))
    by_token = outcome(trained("f2", 0.1), *randoms(0.3), metric="ter")
    rates = [o.rows["test"][0].rate.value for o in (by_word, by_token)]
    assert rates[0] == pytest.approx(3 * rates[1])
    assert "% token errors" in by_token.verdict("test")[0]


def test_other_tokens_are_not_compared():
    one, other = trained("f2", 0.1), trained("b1", 0.3)
    ((_, found),) = other.errors.items()
    tokens = (1, *found.tokens[1:])
    other.errors["test"] = Errors(**{**vars(found), "tokens": tokens})
    assert outcome(one, other).rows["test"]
    with pytest.raises(ConfigError, match="b1 splits .* compare with --rate wer"):
        outcome(one, other, metric="ter").verdict("test")


def test_a_report_shows_it(tmp_path):
    found = outcome(trained("f2", 0.1), *randoms(0.3, 0.4))
    write_outcome(found, tmp_path / "both")
    stnas(["report", str(tmp_path / "both"), "--output", str(tmp_path / "report")])
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Verified by training" in page
    sentences = found.verdict("test")
    assert len(sentences) > 2
    assert all(escape(sentence) in page for sentence in sentences)
    assert 'class="number">990 to 991</td>' in page
