"""From an architecture to a training YAML that any ESPnet recipe can use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espnet_stnas.architecture import Architecture
from espnet_stnas.files import PathLike, dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.spec import ConfigError

# Options of a search that ESPnet's own training does not have.
SEARCH_OPTIONS = (
    "warmup_epochs",
    "estimator",
    "estimator_conf",
    "arch_data",
    "arch_fraction",
    "optim2",
    "optim2_conf",
    "scheduler2",
    "scheduler2_conf",
)


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
        f"# {template} with the architecture of {source}.\n"
        "# Needs espnet_stnas: python3 -m espnet_stnas.run -m espnet2.bin.asr_train\n"
    )
    write_text(path, header + dump_yaml(config))


def describe(architecture: Architecture, source: str) -> str:
    """The layers as lines of text, with the probability of each that was searched."""
    probabilities = iter(architecture.provenance.get("probabilities", ()))
    searched = architecture.provenance.get("space", {}).get("layers", ())
    lines = [f"Architecture of {source}:"]
    for number, layer in enumerate(architecture.space.layers, start=1):
        op = str(layer.candidates[0])
        line = f"  {number:2d}  {op}"
        if number <= len(searched) and isinstance(searched[number - 1], list):
            line += _certainty(op, next(probabilities, {}))
        lines.append(line)
    return "\n".join(lines)


def _certainty(op: str, pi: Mapping[str, Any]) -> str:
    others = sorted((p for name, p in pi.items() if name != op), reverse=True)
    if op not in pi or not others:
        return ""
    return f"  probability {pi[op]:.3f}, next {others[0]:.3f}"
