"""The report as one HTML file without further files. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Optional, Union

from espnet_stnas.files import dump_yaml
from espnet_stnas.notation.reach import FRAME_SHIFT
from espnet_stnas.report.chart import Chart, Drawing
from espnet_stnas.report.curves import (
    certainty_chart,
    comparison_chart,
    loss_chart,
    probability_chart,
    schedule_chart,
    warmup_end,
)
from espnet_stnas.report.evaluated import evaluated_chart
from espnet_stnas.report.graph import architecture_drawing
from espnet_stnas.report.looks import Looks, looks_of
from espnet_stnas.report.paths import paths_chart
from espnet_stnas.report.summary import Summary, command_of
from espnet_stnas.report.svg import swatch
from espnet_stnas.report.tradeoff import UNITS, Points, tradeoff_chart
from espnet_stnas.report.trainings import Training, short_names
from espnet_stnas.report.verdict import (
    Verdict,
    duration,
    search_verdict,
    training_verdicts,
    verified_verdicts,
)
from espnet_stnas.report.verified import Verified, verified_chart
from espnet_stnas.results.layer_table import field_in_words
from espnet_stnas.version import __version__

Figures = Mapping[str, Union[Chart, Drawing]]


def figures_of(
    summary: Summary, looks: Optional[Looks] = None
) -> dict[str, Union[Chart, Drawing]]:
    """Plan all figures of a search, by the names of their files.

    Args:
        summary: The search.
        looks: Numbers of the operations' styles; None: those of its space.
    """
    looks = looks or looks_of([summary.space])
    rows, points = summary.rows, summary.points
    found: dict[str, Union[Chart, Drawing, None]] = {
        "probabilities": probability_chart(summary.space, points, looks),
        "certainty": certainty_chart(summary.space, points),
        "losses": loss_chart(points),
        "paths": paths_chart(summary.health, warmup_end(points)),
        "schedules": schedule_chart(
            points,
            UNITS.get(summary.cost_kind, summary.cost_kind),
            summary.cost_target,
        ),
        "architecture": architecture_drawing(summary.architecture.space, rows, looks),
    }
    if summary.evaluated is not None:
        found["evaluated"] = evaluated_chart(summary.evaluated)
    return {name: figure for name, figure in found.items() if figure is not None}


def tradeoff_charts(
    points: Points, metric: str = "wer"
) -> dict[tuple[str, str], Chart]:
    """Plan figures of errors against costs, by test set and kind of cost.

    Args:
        points: Trained encoders (:func:`espnet_stnas.report.costs.points_of`).
        metric: ``wer`` or ``cer``.
    """
    return {
        (test, kind): tradeoff_chart(some, UNITS[kind], metric)
        for (test, kind), some in points.items()
    }


def report_page(
    searches: Sequence[tuple[Summary, Figures]],
    trainings: Sequence[Training] = (),
    tradeoffs: Optional[Mapping[tuple[str, str], Chart]] = None,
    verified: Optional[Mapping[str, Verified]] = None,
    metric: str = "wer",
) -> str:
    """Return the HTML text of the report.

    Args:
        searches: The searches, with their figures (:func:`figures_of`).
        trainings: Trained encoders to compare.
        tradeoffs: Their figures by test set and kind of cost
            (:func:`tradeoff_charts`).
        verified: Verifications, by name.
        metric: ``wer`` or ``cer``: by which error rate encoders are compared.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    alone = [summary for summary, _ in searches]
    names = names_of(alone)
    looks = looks_of(summary.space for summary in alone)
    verified = verified or {}
    title = "Searches" if len(alone) > 1 else "Trained encoders"
    if len(alone) == 1:
        title = f"Search {names[0]}"
    return environment.get_template("page.html").render(
        title=title,
        version=__version__,
        plotly=Markup(get_plotlyjs()),
        date=datetime.now().strftime("%Y-%m-%d %H:%M"),
        swatches={name: Markup(swatch(number)) for name, number in looks.items()},
        verdicts=_verdicts(alone, names, trainings, verified, metric),
        times=_times(alone, names, trainings),
        searches=[
            {"name": name, **_search(summary, figures, f"search{number}")}
            for number, (name, (summary, figures)) in enumerate(
                zip(names, searches, strict=True), start=1
            )
        ],
        trainings=[(t, score) for t in trainings for score in t.scores or (None,)],
        tradeoffs=[
            (test, UNITS[kind], chart.on_page(f"{test} {kind}"))
            for (test, kind), chart in (tradeoffs or {}).items()
        ],
        verified=[
            (found, verified_chart(found).on_page(f"verified {name}"))
            for name, found in verified.items()
        ],
        **_side_by_side(alone, names),
    )


def names_of(summaries: Sequence[Summary]) -> list[str]:
    """Return names of searches that differ.

    Args:
        summaries: The searches.
    """
    names = [summary.name for summary in summaries]
    if len(set(names)) < len(names):
        return short_names([summary.experiment.path for summary in summaries])
    return names


def _verdicts(
    summaries: Sequence[Summary],
    names: Sequence[str],
    trainings: Sequence[Training],
    verified: Mapping[str, Verified],
    metric: str,
) -> list[Verdict]:
    """Return verdicts, those with the best evidence first."""
    compared = bool(verified or trainings)
    return [
        *(
            verdict
            for found in verified.values()
            for verdict in verified_verdicts(found)
        ),
        *training_verdicts(trainings, summaries, metric, verified=bool(verified)),
        *(
            search_verdict(summary, name, compared=compared)
            for summary, name in zip(summaries, names, strict=True)
        ),
    ]


def _times(
    summaries: Sequence[Summary], names: Sequence[str], trainings: Sequence[Training]
) -> list[tuple[str, str]]:
    """Return what took how long."""
    found = {
        f"search {name}" if len(summaries) > 1 else "search": summary.seconds
        for summary, name in zip(summaries, names, strict=True)
    }
    known = [t.seconds for t in trainings if t.seconds is not None]
    if known:
        several = f"{len(known)} trainings" if len(known) > 1 else "training"
        found[several] = sum(known)
    return [
        (name, duration(value)) for name, value in found.items() if value is not None
    ]


def facts_of(summary: Summary) -> list[tuple[str, str]]:
    """Return names and values of the facts about a search."""
    parameters = summary.parameters
    entropy = summary.mean_entropy
    view = summary.view
    facts = {
        "parameters of the encoder": "" if parameters is None else f"{parameters:,}",
        "receptive field": field_in_words(view),
        "look-ahead": summary.look_ahead,
        "frame rate": f"{1000 / (FRAME_SHIFT * view.stride):.4g} Hz, 1 frame in "
        f"{view.stride}",
        "mean entropy": "" if entropy is None else f"{entropy:.3f} nats",
        "time of all epochs": duration(summary.seconds),
    }
    return [(name, value) for name, value in facts.items() if value]


def _search(summary: Summary, figures: Figures, place: str) -> dict[str, Any]:
    """Return the template's values for a search."""
    known = {c.layer: c for c in summary.certainties}
    conf = {"encoder": "stnas", "encoder_conf": summary.architecture.space.to_conf()}
    versions = summary.architecture.provenance.versions
    return {
        "status": summary.status,
        "space": summary.space,
        "architecture": summary.architecture,
        "facts": facts_of(summary),
        "layers": [(row, known.get(row.number)) for row in summary.rows],
        "figures": {
            name: figure.on_page(f"{place} {name}") for name, figure in figures.items()
        },
        "evaluated": summary.evaluated,
        "yaml": dump_yaml(conf),
        "commands": [_run(run) for run in summary.runs],
        "versions": sorted(versions.items()),
        "settings": [(name, str(value)) for name, value in summary.settings.items()],
    }


def _run(run: Mapping[str, Any]) -> dict[str, str]:
    parts = [f"Started {run['started']}" if "started" in run else "Started"]
    if run.get("epoch", 1) != 1:
        parts.append(f"again, from epoch {run['epoch']}")
    parts += [f"on {run['device']}"] if "device" in run else []
    return {"text": " ".join(parts), "command": command_of(run)}


def _side_by_side(summaries: Sequence[Summary], names: Sequence[str]) -> dict[str, Any]:
    """Return the template's values for the comparison of several searches."""
    if len(summaries) < 2:
        return {"facts": [], "comparison": None, "decisions": []}
    facts: dict[str, list[str]] = {
        "state": [s.status for s in summaries],
        "architectures": [f"{s.space.num_architectures:,}" for s in summaries],
        "doubtful choices": [str(len({d.layer for d in s.doubts})) for s in summaries],
    }
    for key in ("estimator", "estimator_conf", "cost_conf", "warmup_epochs", "seed"):
        values = [str(s.settings.get(key, "")) for s in summaries]
        if any(values):
            facts[key] = values
    own = [dict(facts_of(s)) for s in summaries]
    for name in dict.fromkeys(name for o in own for name in o):
        facts[name] = [o.get(name, "") for o in own]
    points = [summary.points for summary in summaries]
    chart = comparison_chart(list(zip(names, points, strict=True)))
    return {
        "facts": list(facts.items()),
        "comparison": chart.on_page("comparison"),
        "decisions": _decisions(summaries),
    }


def _decisions(summaries: Sequence[Summary]) -> list[tuple[int, list[str]]]:
    """Return the operations of each layer, if all searches have the same number."""
    lengths = {len(s.rows) for s in summaries}
    if len(lengths) > 1:
        return []
    return [
        (number, [s.rows[number - 1].op for s in summaries])
        for number in range(1, lengths.pop() + 1)
    ]
