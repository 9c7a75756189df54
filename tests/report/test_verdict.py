"""The first lines of a report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.report import trainings
from espnet_stnas.report.page import figures_of, report_page
from espnet_stnas.report.summary import Summary, summarise
from espnet_stnas.report.trainings import Sizes, Training
from espnet_stnas.report.verdict import (
    Verdict,
    grouped,
    search_verdict,
    training_verdicts,
    verified_verdicts,
)
from espnet_stnas.report.verified import (
    Interval,
    Verified,
    VerifiedGroup,
    VerifiedTest,
)
from espnet_stnas.results.certainty import Doubt
from espnet_stnas.results.health import Health, Sample, write_health
from tests.report.spaces import SPACE, experiment
from tests.report.test_page import Page

TRAINED = Sample(3, 50, 99, 2.0, 1.0, 0.1, error=0.2, tau=0.6)


@pytest.fixture(scope="module")
def summary(tmp_path_factory) -> Summary:
    """Of a search that ended well: no doubts, decisions that stood, a good supernet."""
    path = experiment(tmp_path_factory.mktemp("verdict") / "search")
    found = summarise(path, parameters=lambda space, size: [[100]] * 7)
    firm = [
        replace(c, pi={c.op: 0.9, "other": 0.1}, searched=8, unchanged=8, agreed=8)
        for c in found.certainties
    ]
    health = Health((TRAINED,))
    return replace(found, certainties=tuple(firm), longest=3, health=health)


def test_several_warnings_of_a_kind_are_one():
    doubts = [
        *(
            Doubt(layer, "unmoved", f"layer {layer} has not moved")
            for layer in (2, 3, 7)
        ),
        Doubt(5, "collapsed", "layer 5 collapsed"),
    ]
    many, one, other = grouped(doubts, ["the supernet is not trained"])
    assert (
        many.text == "3 choices have not moved from uniform: those of layers 2, 3 and 7"
    )
    assert list(many.items) == [d.text for d in doubts[:3]]
    assert (one.text, other.text) == (
        "layer 5 collapsed",
        "the supernet is not trained",
    )
    assert not one.items and not other.items


def test_the_page_groups_warnings(tmp_path, capsys):
    """A list that opens, in the verdict, and not once more elsewhere."""
    exp = experiment(tmp_path / "exp", max_epoch=3)
    summary = summarise(exp)
    doubts = tuple(Doubt(n, "unmoved", f"<layer {n}> stayed") for n in (2, 3))
    page = report_page([(replace(summary, doubts=doubts), figures_of(summary))])
    assert page.count("&lt;layer 2&gt; stayed") == 1
    text = "2 choices have not moved from uniform: those of layers 2 and 3"
    assert f"<details><summary>{text}</summary>" in page
    place = page.index(text)
    assert page.index('id="verdict"') < place < page.index('id="search1"')


def test_a_search_that_ended_well(summary):
    found = search_verdict(summary, "a/search", compared=True)
    assert found.tone == "passed" and not found.notes
    assert found.sentence == (
        "Search a/search found an architecture of 700 parameters, one of 36, and no "
        "check speaks against it."
    )
    assert found.reasons[0] == (
        "4 of 4 decisions stood over the last 8 epochs of search; the chosen operation "
        "leads the next one by 0.80 on average, and by 0.800 in layer 2, the least "
        "sure one"
    )
    assert any("Kendall's tau of 0.60" in text for text in found.reasons)
    assert not any("gains" in text for text in found.reasons)
    alone = search_verdict(summary, "a/search")
    assert any("what it gains over random" in text for text in alone.reasons)


def tone_of(summary: Summary, **changes) -> tuple[str, str]:
    found = search_verdict(replace(summary, **changes), "s", compared=True)
    return found.tone, " ".join([found.sentence, *found.reasons])


def test_what_is_not_known_is_not_well(summary):
    tone, text = tone_of(summary, health=Health())
    assert tone == "open" and "nothing is known of how well the shared" in text
    changed = [replace(c, agreed=3) for c in summary.certainties[:1]]
    rest = summary.certainties[1:]
    tone, text = tone_of(summary, certainties=(*changed, *rest))
    assert tone == "open" and "3 of 4 decisions stood" in text
    assert "decisions changed to the end" in text
    short = tuple(
        replace(c, searched=2, unchanged=2, agreed=2) for c in summary.certainties
    )
    tone, text = tone_of(summary, certainties=short)
    assert tone == "open" and "learned for 2 epochs, which is too short" in text
    tone, text = tone_of(summary, longest=9)
    assert tone == "open" and "is not at its end: 3 of 9 epochs done" in text


def test_what_speaks_against_a_search(summary):
    untrained = Health((replace(TRAINED, error=0.95),))
    tone, text = tone_of(summary, health=untrained)
    assert tone == "doubtful" and "but a reason speaks against relying on it" in text
    doubts = (Doubt(2, "unmoved", "a"), Doubt(3, "collapsed", "b"))
    tone, text = tone_of(summary, doubts=doubts)
    assert tone == "doubtful" and "but 2 reasons speak against" in text


def test_searches_that_failed_or_leave_the_choice_open(tmp_path):
    exp = experiment(tmp_path / "failed")
    (exp / "failed.yaml").write_text("reason: no step was valid\n")
    found = search_verdict(summarise(exp), "s")
    assert found.tone == "doubtful"
    assert "failed after 3 epochs: no step was valid" in found.sentence
    exp = experiment(tmp_path / "uniform", estimator="uniform")
    write_health(exp, Health((TRAINED,)))
    found = search_verdict(summarise(exp), "s")
    assert found.tone == "open" and "stnas select chooses one" in found.sentence


def training(name: str, *rates: float, space=None, size=1000) -> Training:
    scores = tuple(trainings.TestResult(f"test{n}", wer=r) for n, r in enumerate(rates))
    return Training(None, name, "stnas", scores, Sizes(size, size, 40), space)


def test_trained_encoders(summary):
    own = summary.architecture.space
    trained = [
        training("derived", 20.0, 9.0, space=own),
        training("random1", 24.0),
        training("b/random2", 30.0),
        training("largest", 19.0, size=5000),
    ]
    first, second = training_verdicts(trained, [summary], "wer")
    assert first.sentence == (
        "On test0, largest has the lowest WER: 19.00 % with 5,000 parameters, of 4 "
        "trained encoders."
    )
    assert first.reasons[0] == (
        "the found architecture (derived) has 20.00 % with 1,000 parameters, and is "
        "number 2 of 4; 2 random ones have 27.00 % on average, +7.00 points"
    )
    assert "seeds: stnas verify measures that" in first.reasons[1]
    # Single trainings do not show that anything is better.
    assert first.tone == second.tone == "open"
    assert second.sentence == "On test1, derived has 9.00 % WER with 1,000 parameters."
    (known, _) = training_verdicts(trained, [summary], "wer", verified=True)
    assert len(known.reasons) == 1
    (without, _) = training_verdicts(
        [replace(trained[0], space=SPACE), *trained[1:]], [summary], "wer"
    )
    assert without.reasons[0] == "the architecture of the search is not among them"
    assert training_verdicts(trained, [summary], "cer") == []
    (other,) = training_verdicts(
        [trained[0], trained[3]], [summary], "wer", verified=True
    )[:1]
    assert "1 other ones have 19.00 % on average, -1.00 points" in other.reasons[0]


@pytest.mark.parametrize(
    ("interval", "tone"),
    [((-3, -1), "shown"), ((-3, 1), "open"), ((1, 3), "doubtful"), (None, "open")],
)
def test_verifications(interval, tone):
    gain = None if interval is None else Interval(sum(interval) / 2, *interval)
    group = VerifiedGroup("f1", 3, [9], 1, 1.0, Interval(5.0, 4.0, 6.0), gain, [])
    test = VerifiedTest("test", ["It is so.", "For this reason."], [group])
    (found,) = verified_verdicts(Verified("f1", "wer", [test], []))
    assert found == Verdict(tone, "It is so.", ["For this reason."])


def test_times(tmp_path, capsys):
    """Of all epochs of a search, and of all trainings."""
    exp = experiment(tmp_path / "exp")
    for epoch, seconds in ((1, (10, 40)), (2, (30, 80))):
        file = exp / "curves" / f"{epoch}epoch.jsonl"
        first, last = file.read_text().splitlines()
        lines = [
            f"{line[:-1]}, {chr(34)}seconds{chr(34)}: {value}}}"
            for line, value in zip((first, last), seconds, strict=True)
        ]
        file.write_text("\n".join(lines) + "\n")
    assert summarise(exp).seconds == 120
    training = tmp_path / "train"
    training.mkdir()
    (training / "config.yaml").write_text("encoder: conformer\n")
    (training / "train_seconds").write_text("7000\n200\n")
    stnas(["report", str(exp), str(training)])
    text = Page((exp / "report" / "report.html").read_text()).text
    words = " ".join(text.split())
    assert "time of search 2.0 min" in words and "time of training 2.0 h" in words
    assert summarise(experiment(tmp_path / "b", curves=False)).seconds is None
