"""The first lines of a report: what was found, how surely, what it gains. No torch."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from espnet_stnas.report.summary import Summary
from espnet_stnas.report.trainings import Training
from espnet_stnas.report.verified import Verified
from espnet_stnas.results.certainty import FEWEST_EPOCHS, Certainty, Doubt

# What a verification showed, what no check objects to, and the rest.
SHOWN, PASSED, DOUBTFUL, OPEN = "shown", "passed", "doubtful", "open"
_KINDS = {
    "unmoved": "choices have not moved from uniform",
    "collapsed": "choices collapsed early",
}


@dataclass(frozen=True)
class Note:
    """A warning, or several of one kind.

    Args:
        text: The warning, or what all have in common.
        items: All of them, if they are several.
    """

    text: str
    items: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """What one search, comparison or verification says.

    Args:
        tone: ``shown``, ``passed``, ``doubtful`` or ``open``.
        sentence: The outcome.
        reasons: Sentences for it, and about it.
        notes: Warnings.
    """

    tone: str
    sentence: str
    reasons: Sequence[str] = ()
    notes: Sequence[Note] = ()


def grouped(doubts: Sequence[Doubt], others: Sequence[str] = ()) -> list[Note]:
    """Make one warning of all doubts of a kind, and one of each other sentence.

    Args:
        doubts: Doubts about choices.
        others: Other warnings.
    """
    notes = []
    for kind in dict.fromkeys(doubt.kind for doubt in doubts):
        found = [doubt for doubt in doubts if doubt.kind == kind]
        if len(found) == 1:
            notes.append(Note(found[0].text))
            continue
        layers = [str(doubt.layer) for doubt in found]
        names = f"{', '.join(layers[:-1])} and {layers[-1]}"
        text = f"{len(found)} {_KINDS[kind]}: those of layers {names}"
        notes.append(Note(text, [doubt.text for doubt in found]))
    return notes + [Note(text) for text in others]


def search_verdict(summary: Summary, name: str, *, compared: bool = False) -> Verdict:
    """Say what a search found, and how sure it is.

    Args:
        summary: The search.
        name: Its name in the report.
        compared: Whether trained encoders say what it gains.
    """
    good, bad = summary.health.findings()
    notes = grouped(summary.doubts, bad)
    status = summary.status
    count = summary.parameters
    size = "" if count is None else f" of {count:,} parameters"
    many = f"{summary.space.num_architectures:,}"
    reasons = [*_certainty(summary), *good]
    if summary.failed:
        return Verdict(DOUBTFUL, f"Search {name} {status}.", reasons, notes)
    if not summary.experiment.plan.learns:
        text = (
            f"Search {name} trained shared weights for {many} architectures and "
            f"prefers none of them, as its estimator wants: stnas select chooses one "
            f"({status})."
        )
        return Verdict(DOUBTFUL if notes else OPEN, text, reasons, notes)
    if not summary.finished or summary.architecture.provenance.in_warmup:
        text = f"Search {name} is not at its end: {status}. Its architecture"
        return Verdict(OPEN, f"{text}{size} may change.", reasons, notes)
    if not compared:
        reasons.append(
            "what it gains over random architectures is not known before both are "
            "trained, as stnas verify does"
        )
    text = f"Search {name} found an architecture{size}, one of {many}"
    if notes:
        several = f"{len(notes)} reasons speak" if len(notes) > 1 else "a reason speaks"
        text = f"{text}, but {several} against relying on it."
        return Verdict(DOUBTFUL, text, reasons, notes)
    missing = _missing(summary)
    if missing:
        return Verdict(OPEN, f"{text}.", [*reasons, *missing])
    return Verdict(PASSED, f"{text}, and no check speaks against it.", reasons)


def _missing(summary: Summary) -> list[str]:
    """Say what is not known of a search that no check speaks against."""
    found = summary.certainties
    missing = []
    if not summary.health.samples:
        missing.append("nothing is known of how well the shared weights were trained")
    if found and found[0].searched < FEWEST_EPOCHS:
        missing.append(
            f"the logits learned for {found[0].searched} epochs, which is too short to "
            "judge their decisions"
        )
    elif not all(_firm(c) for c in found):
        missing.append("decisions changed to the end: more epochs may change others")
    return missing


def _firm(certainty: Certainty) -> bool:
    """Return whether a decision stood over the last epochs."""
    return certainty.agreed == certainty.window and certainty.margin > 0


def _certainty(summary: Summary) -> list[str]:
    """Say for how many choices the decision is clear."""
    found = summary.certainties
    if not found or not summary.experiment.plan.learns:
        return []
    firm = sum(map(_firm, found))
    least = min(found, key=lambda c: c.margin)
    mean = statistics.fmean(c.margin for c in found)
    window = found[0].window
    last = "epoch" if window == 1 else f"{window} epochs"
    return [
        f"{firm} of {len(found)} decisions stood over the last {last} of search; "
        f"the chosen operation leads the next one by {mean:.2f} on average, and by "
        f"{least.margin:.3f} in layer {least.layer}, the least sure one"
    ]


def training_verdicts(
    trainings: Sequence[Training],
    summaries: Sequence[Summary],
    metric: str,
    *,
    verified: bool = False,
) -> list[Verdict]:
    """Say for each test set which trained encoder is best, and how the found one does.

    Args:
        trainings: Trained encoders.
        summaries: Searches; a training of the architecture of one is the found one.
        metric: ``wer`` or ``cer``.
        verified: Whether a verification says what differences are worth.
    """
    chosen = [summary.architecture.space for summary in summaries]
    verdicts = []
    for test in dict.fromkeys(s.test for t in trainings for s in t.scores):
        rates = [
            (rate, t)
            for t in trainings
            for s in t.scores
            if s.test == test and (rate := getattr(s, metric)) is not None
        ]
        rates.sort(key=lambda pair: pair[0])
        if rates:
            found = [pair for pair in rates if pair[1].space in chosen]
            verdict = _compared(test, rates, found, metric.upper())
            notes = list(verdict.reasons)
            if summaries and not found:
                notes.append("the architecture of the search is not among them")
            if len(rates) > 1 and not verified:
                notes.append(
                    "each was trained once, so differences may be those of seeds: "
                    "stnas verify measures that"
                )
            verdicts.append(Verdict(verdict.tone, verdict.sentence, notes))
    return verdicts


def _compared(
    test: str,
    rates: Sequence[tuple[float, Training]],
    found: Sequence[tuple[float, Training]],
    metric: str,
) -> Verdict:
    best, first = rates[0]
    text = f"On {test}, {first.name} has the lowest {metric}: {best:.2f} %"
    text += f"{_size(first)}, of {len(rates)} trained encoders."
    if len(rates) == 1:
        text = f"On {test}, {first.name} has {best:.2f} % {metric}{_size(first)}."
    reasons = []
    for rate, t in found:
        rank = 1 + sum(other < rate for other, _ in rates)
        reason = f"the found architecture ({t.name}) has {rate:.2f} %{_size(t)}"
        if len(rates) > 1:
            reason += f", and is number {rank} of {len(rates)}"
        others = [r for r, o in rates if re.fullmatch(r"(.*/)?random\d+", o.name)]
        kind = "random"
        if not others:
            others, kind = [r for r, o in rates if o.space != t.space], "other"
        if others:
            mean = statistics.fmean(others)
            reason += (
                f"; {len(others)} {kind} ones have {mean:.2f} % on average, "
                f"{mean - rate:+.2f} points"
            )
        reasons.append(reason)
    return Verdict(OPEN, text, reasons)


def _size(training: Training) -> str:
    if training.sizes is None:
        return ""
    return f" with {training.sizes.encoder:,} parameters"


def verified_verdicts(verified: Verified) -> list[Verdict]:
    """Say for each test set what trainings with several seeds showed.

    Args:
        verified: The outcome of a verification.
    """
    verdicts = []
    for test in verified.tests:
        own = next((g for g in test.groups if g.name == verified.chosen), None)
        gain = None if own is None else own.minus_random
        tone = OPEN
        if gain is not None and gain.high < 0:
            tone = SHOWN
        elif gain is not None and gain.low > 0:
            tone = DOUBTFUL
        first, *others = test.verdict or [f"{verified.chosen} was chosen."]
        verdicts.append(Verdict(tone, first, others))
    return verdicts


def duration(seconds: Optional[float]) -> str:
    """Return a time in words; empty if not known.

    >>> duration(59.4), duration(90), duration(9000), duration(None)
    ('59 s', '1.5 min', '2.5 h', '')
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
