"""Writes the files of a report: page, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_stnas.files import write_text
from espnet_stnas.report.drawing import save_figure
from espnet_stnas.report.page import figures_of, report_page, tradeoff_figures
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
    figures = [figures_of(summary) for summary in summaries]
    tradeoffs = tradeoff_figures(points, metric)
    files = [directory / "report.html"]
    searches = list(zip(summaries, figures, strict=True))
    write_text(files[0], report_page(searches, trainings, tradeoffs, verified))
    if trainings:
        files.append(directory / "table.md")
        write_text(files[-1], markdown(trainings))
    if points:
        files.append(directory / "errors.md")
        write_text(files[-1], _tables(points, metric))
    for (test, kind), figure in tradeoffs.items():
        name = f"errors_{test.replace('/', '_')}_{kind}.{suffix}"
        files.append(directory / name)
        save_figure(figure, files[-1])
    for number, found in enumerate(figures, start=1):
        place = directory if len(figures) == 1 else directory / f"search{number}"
        for name, figure in found.items():
            files.append(place / f"{name}.{suffix}")
            save_figure(figure, files[-1])
    return files


def _tables(points: Points, metric: str) -> str:
    return "\n".join(
        f"Errors on {test} against {UNITS[kind]}:\n\n"
        + tradeoff_table(some, UNITS[kind], metric)
        for (test, kind), some in points.items()
    )
