"""The report as one HTML file without further files. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from espnet_stnas.files import dump_yaml
from espnet_stnas.notation.reach import FRAME_SHIFT
from espnet_stnas.report.curves import (
    certainty_figure,
    comparison_figure,
    loss_figure,
    probability_figure,
    schedule_figure,
    warmup_end,
)
from espnet_stnas.report.drawing import figure_svg
from espnet_stnas.report.evaluated import evaluated_figure, points_on
from espnet_stnas.report.graph import architecture_figure
from espnet_stnas.report.paths import paths_figure
from espnet_stnas.report.summary import Summary, command_of
from espnet_stnas.report.tradeoff import UNITS, Points, tradeoff_figure
from espnet_stnas.report.trainings import Training
from espnet_stnas.report.verified import Verified, verified_figure
from espnet_stnas.results.layer_table import field_in_words
from espnet_stnas.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures_of(summary: Summary) -> dict[str, Figure]:
    """Draw all figures of a search, by the names of their files."""
    found: dict[str, Optional[Figure]] = {
        "probabilities": probability_figure(summary.space, summary.points),
        "certainty": certainty_figure(summary.space, summary.points),
        "losses": loss_figure(summary.points),
        "paths": paths_figure(summary.health, warmup_end(summary.points)),
        "schedules": schedule_figure(
            summary.points,
            UNITS.get(summary.cost_kind, summary.cost_kind),
            summary.cost_target,
        ),
        "architecture": architecture_figure(summary.architecture.space, summary.rows),
    }
    if summary.evaluated is not None:
        found["evaluated"] = evaluated_figure(summary.evaluated)
    return {name: figure for name, figure in found.items() if figure is not None}


def tradeoff_figures(
    points: Points, metric: str = "wer"
) -> dict[tuple[str, str], Figure]:
    """Draw errors against costs, by test set and kind of cost.

    Args:
        points: Trained encoders (:func:`espnet_stnas.report.costs.points_of`).
        metric: ``wer`` or ``cer``.
    """
    return {
        (test, kind): tradeoff_figure(some, UNITS[kind], metric)
        for (test, kind), some in points.items()
    }


def report_page(
    summaries: Sequence[tuple[Summary, Mapping[str, Figure]]],
    trainings: Sequence[Training] = (),
    tradeoffs: Optional[Mapping[tuple[str, str], Figure]] = None,
    verified: Optional[Mapping[str, Verified]] = None,
) -> str:
    """Return the HTML text of the report.

    Args:
        summaries: The searches, with their figures (:func:`figures_of`).
        trainings: Trained encoders to compare.
        tradeoffs: Their figures by test set and kind of cost
            (:func:`tradeoff_figures`).
        verified: Verifications, by name.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    searches = [
        _search(summary, figures, f"search{number}")
        for number, (summary, figures) in enumerate(summaries, start=1)
    ]
    alone = [summary for summary, _ in summaries]
    title = "Searches" if len(alone) > 1 else "Trained encoders"
    if len(alone) == 1:
        title = f"Search {alone[0].name}"
    return environment.get_template("page.html").render(
        title=title,
        version=__version__,
        date=datetime.now().strftime("%Y-%m-%d %H:%M"),
        searches=searches,
        trainings=[(t, score) for t in trainings for score in t.scores or (None,)],
        tradeoffs=[
            (test, UNITS[kind], Markup(figure_svg(figure, f"{test} {kind}")))
            for (test, kind), figure in (tradeoffs or {}).items()
        ],
        verified=[
            (found, Markup(figure_svg(verified_figure(found), f"verified {name}")))
            for name, found in (verified or {}).items()
        ],
        **_side_by_side(alone),
    )


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
    }
    return [(name, value) for name, value in facts.items() if value]


def _search(
    summary: Summary, figures: Mapping[str, Figure], place: str
) -> dict[str, Any]:
    """Return the template's values for a search."""
    from markupsafe import Markup

    # Figures contain labels only as shapes and escaped text.
    svg = {
        n: Markup(figure_svg(figure, f"{place} {n}")) for n, figure in figures.items()
    }
    known = {c.layer: c for c in summary.certainties}
    conf = {"encoder": "stnas", "encoder_conf": summary.architecture.space.to_conf()}
    versions = summary.architecture.provenance.versions
    return {
        "name": summary.name,
        "status": summary.status,
        "space": summary.space,
        "architecture": summary.architecture,
        "findings": summary.findings,
        "doubts": summary.warnings,
        "facts": facts_of(summary),
        "layers": [(row, known.get(row.number)) for row in summary.rows],
        "graph": svg["architecture"],
        "probabilities": svg["probabilities"],
        "certainty": svg["certainty"],
        "evaluated": summary.evaluated,
        "evaluated_figure": svg.get("evaluated"),
        # After it was drawn, which decides where its points are.
        "hover": points_on(figures["evaluated"], summary.evaluated)
        if summary.evaluated is not None and "evaluated" in figures
        else None,
        "losses": svg.get("losses"),
        "paths": svg.get("paths"),
        "schedules": svg.get("schedules"),
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


def _side_by_side(summaries: Sequence[Summary]) -> dict[str, Any]:
    """Return the template's values for the comparison of several searches."""
    from markupsafe import Markup

    if len(summaries) < 2:
        return {"facts": [], "comparison": "", "decisions": []}
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
    figure = comparison_figure([(s.name, s.points) for s in summaries])
    return {
        "facts": list(facts.items()),
        "comparison": Markup(figure_svg(figure, "comparison")),
        "decisions": _decisions(summaries),
    }


def _decisions(summaries: Sequence[Summary]) -> list[tuple[int, list[Optional[str]]]]:
    """Return the operations of each layer, if all searches have the same number."""
    lengths = {len(s.rows) for s in summaries}
    if len(lengths) > 1:
        return []
    return [
        (number, [s.rows[number - 1].op for s in summaries])
        for number in range(1, lengths.pop() + 1)
    ]
