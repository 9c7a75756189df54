"""Writes the files of a report: page, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_stnas.files import write_text
from espnet_stnas.report.drawing import save_figure
from espnet_stnas.report.looks import looks_of
from espnet_stnas.report.page import figures_of, report_page, tradeoff_charts
from espnet_stnas.report.summary import Summary
from espnet_stnas.report.table import markdown
from espnet_stnas.report.tradeoff import UNITS, Points, tradeoff_table
from espnet_stnas.report.trainings import Training
from espnet_stnas.report.verified import Verified


def write_report(
    summaries: Sequence[Summary],
    trainings: Sequence[Training],
    points: Points,
    directory: Path,
    *,
    verified: Mapping[str, Verified],
    suffix: str = "png",
    metric: str = "wer",
) -> list[Path]:
    """Write page, tables and figures.

    Args:
        summaries: The searches.
        trainings: Trained encoders to compare.
        points: Their errors and costs, from
            :func:`espnet_stnas.report.costs.points_of`.
        directory: Directory of the files; figures of several searches get a directory
            each.
        verified: Verifications, by name.
        suffix: Format of the figures' files.
        metric: The error rate of ``points``.

    Returns:
        The files, the page first.
    """
    looks = looks_of(summary.space for summary in summaries)
    figures = [figures_of(summary, looks) for summary in summaries]
    tradeoffs = tradeoff_charts(points, metric)
    files = [directory / "report.html"]
    searches = list(zip(summaries, figures, strict=True))
    page = report_page(searches, trainings, tradeoffs, verified, metric)
    write_text(files[0], page)
    if trainings:
        files.append(directory / "table.md")
        write_text(files[-1], markdown(trainings))
    if points:
        files.append(directory / "errors.md")
        write_text(files[-1], _tables(points, metric))
    for (test, kind), chart in tradeoffs.items():
        name = f"errors_{test.replace('/', '_')}_{kind}.{suffix}"
        files.append(directory / name)
        save_figure(chart.figure(), files[-1])
    for number, found in enumerate(figures, start=1):
        place = directory if len(figures) == 1 else directory / f"search{number}"
        for name, figure in found.items():
            files.append(place / f"{name}.{suffix}")
            save_figure(figure.figure(), files[-1])
    return files


def _tables(points: Points, metric: str) -> str:
    return "\n".join(
        f"Errors on {test} against {UNITS[kind]}:\n\n"
        + tradeoff_table(some, UNITS[kind], metric)
        for (test, kind), some in points.items()
    )
