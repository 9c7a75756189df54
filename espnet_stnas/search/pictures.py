"""Pictures of a search while it runs: for tensorboard, wandb and ``images/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espnet2.train.reporter import SubReporter

from espnet_stnas.cost.counts import layer_parameters
from espnet_stnas.report.curves import probability_chart
from espnet_stnas.report.drawing import save_figure
from espnet_stnas.report.graph import architecture_drawing
from espnet_stnas.results.curves import read_curves
from espnet_stnas.results.derive import describe
from espnet_stnas.results.layer_table import architecture_rows
from espnet_stnas.search.cost import input_size
from espnet_stnas.search.reports import epoch_architecture
from espnet_stnas.search.state import SearchRun


def show_architecture(
    run: SearchRun, summary_writer: Any, reporter: SubReporter
) -> None:
    """Send the most probable architecture to tensorboard and wandb.

    Args:
        run: The search.
        summary_writer: Tensorboard's writer, or None.
        reporter: Provides the epoch and the number of steps.
    """
    use_wandb = run.options.use_wandb
    if summary_writer is None and not use_wandb:
        return
    epoch = reporter.get_epoch()
    architecture = epoch_architecture(run, epoch)
    space = architecture.space
    parameters = layer_parameters(space, input_size(run.supernet))
    text = describe(architecture, f"epoch {epoch}")
    rows = architecture_rows(architecture, parameters)
    figure = architecture_drawing(space, rows).figure()
    step = reporter.get_total_count()
    if summary_writer is not None:
        # Tensorboard shows indented lines unchanged.
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        summary_writer.add_text("architecture", indented, step)
        summary_writer.add_figure("architecture", figure, step)
    if use_wandb:
        import wandb

        wandb.log(
            {
                "architecture": wandb.Image(figure),
                "architecture_text": wandb.Html(f"<pre>{text}</pre>"),
                "iteration": step,
            }
        )


def draw_probabilities(run: SearchRun) -> None:
    """Draw ``images/probabilities.png``, the probabilities of all choices so far.

    This replaces ESPnet's figures, one for each reported value. With all candidates of
    all choices among the values, they take longer than a small search.
    """
    directory = Path(run.options.output_dir)
    chart = probability_chart(run.supernet.space, read_curves(directory))
    (directory / "images").mkdir(exist_ok=True)
    save_figure(chart.figure(), directory / "images" / "probabilities.png")
