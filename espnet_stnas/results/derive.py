"""From an architecture to a training YAML that any ESPnet recipe can use."""

from __future__ import annotations

from collections.abc import Sequence

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.messages import one_line
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.certainty import Certainty, certainties, runner_up
from espnet_stnas.results.search_options import SEARCH_OPTIONS

# The table of `describe`, and its columns of numbers.
_HEADER = [
    *("", "operation", "probability", "next best", "", "margin"),
    "same for the last",
]
_NUMBERS = (0, 2, 4, 5)


def write_training_config(
    architecture: Architecture, template: PathLike, path: PathLike, source: str
) -> None:
    """Write a training YAML with the architecture inline.

    Inline, because ESPnet copies the configuration into the experiment and into
    packed models: nothing else is then needed to use them.

    Args:
        architecture: The architecture.
        template: ESPnet training YAML; its encoder is replaced, all else is kept.
        path: File to write, whole or not at all.
        source: Where the architecture comes from, for the comment at the top.

    Raises:
        ConfigError: If the template is damaged or is the configuration of a search.
    """
    config = read_yaml_mapping(template, "training config")
    wrong = [key for key in SEARCH_OPTIONS if key in config]
    if wrong:
        raise ConfigError(
            f"training config {template} has the key '{wrong[0]}', which belongs to a "
            "search; accepted is a YAML for espnet2.bin.asr_train"
        )
    config = {
        **config,
        "encoder": "stnas",
        "encoder_conf": architecture.space.to_conf(),
    }
    header = (
        # Names of files may hold line breaks, or bytes that are no text.
        f"# {one_line(template)} with the architecture of {one_line(source)}.\n"
        "# Needs espnet_stnas: python3 -m espnet_stnas.run -m espnet2.bin.asr_train\n"
    )
    write_text(path, header + dump_yaml(config))


def describe(
    architecture: Architecture, source: str, history: Sequence[Architecture] = ()
) -> str:
    """The layers as a table, with how sure the search was of each that it chose.

    Args:
        architecture: The architecture.
        source: Where it comes from.
        history: The architectures of the search's epochs up to this one, in order, if
            they are known.
    """
    stability = {c.layer: _stability(c) for c in certainties(history)}
    rows = []
    layers = zip(architecture.space.layers, architecture.decisions(), strict=True)
    for number, (layer, pi) in enumerate(layers, start=1):
        op = str(layer.candidates[0])
        row = [str(number), op]
        if pi is not None and op in pi and len(pi) > 1:
            name, p = runner_up(pi, op)
            row += [f"{pi[op]:.3f}", name, f"{p:.3f}", f"{pi[op] - p:.3f}"]
            row += [stability[number]] if number in stability else []
        rows.append(row)
    widest = max(map(len, rows))
    if widest > 2:
        rows.insert(0, _HEADER[:widest])
    return "\n".join([f"Architecture of {source}:", *_aligned(rows)])


def _stability(c: Certainty) -> str:
    text = f"{c.unchanged} of {c.searched} epochs"
    if c.agreed > c.unchanged:
        text += f", {c.agreed} of the last {c.window} in all"
    return text


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    columns = range(max(map(len, rows)))
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in columns]
    return [
        "  "
        + "  ".join(
            cell.rjust(widths[i]) if i in _NUMBERS else cell.ljust(widths[i])
            for i, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]
