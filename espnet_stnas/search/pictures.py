"""The architecture so far, as text and figure, for tensorboard and wandb."""

from __future__ import annotations

from typing import Any

from espnet2.train.reporter import SubReporter

from espnet_stnas.cost.counts import layer_parameters
from espnet_stnas.report.graph import architecture_figure
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.derive import describe
from espnet_stnas.results.layer_table import architecture_rows
from espnet_stnas.results.provenance import search_provenance
from espnet_stnas.search.cost import input_size
from espnet_stnas.search.options import SearchTrainerOptions
from espnet_stnas.supernet.supernet import Supernet


def show_architecture(
    supernet: Supernet,
    summary_writer: Any,
    options: SearchTrainerOptions,
    reporter: SubReporter,
) -> None:
    """Send the most probable architecture to where ESPnet sends its curves.

    Args:
        supernet: The supernet.
        summary_writer: Tensorboard's, or None.
        options: Options of the search.
        reporter: Knows the epoch, and the steps that were made.
    """
    if summary_writer is None and not options.use_wandb:
        return
    epoch, size = reporter.epoch, input_size(supernet)
    provenance = search_provenance(
        supernet.space,
        [pi.tolist() for pi in supernet.probabilities()],
        epoch=epoch,
        seed=options.seed,
        searching=epoch > options.warmup_epochs,
        input_size=size,
    )
    space = supernet.architecture()
    architecture = Architecture(space, provenance)
    rows = architecture_rows(architecture, layer_parameters(space, size))
    text = describe(architecture, f"epoch {epoch}")
    figure = architecture_figure(space, rows)
    step = reporter.get_total_count()
    if summary_writer is not None:
        # Indented lines are shown as they are.
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        summary_writer.add_text("architecture", indented, step)
        summary_writer.add_figure("architecture", figure, step)
    if options.use_wandb:
        import wandb

        wandb.log(
            {
                "architecture": wandb.Image(figure),
                "architecture_text": wandb.Html(f"<pre>{text}</pre>"),
                "iteration": step,
            }
        )
