"""Encoders to compare: architectures of our spaces, and ESPnet's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from espnet2.tasks.asr import encoder_choices

from espnet_stnas.network.network import build_network
from lab.corpus import Corpus
from lab.model import Recogniser
from lab.spaces import fixed

# The best learning rate of each kind; benchmarks/schedules.py prints the sweep.
RATES = {
    "tdnn": 4e-3,
    "depth": 4e-3,
    "causal": 4e-3,
    "mixed": 4e-3,
    "conformer": 4e-3,
    "ebranchformer": 4e-3,
}
RECIPE = Path(__file__).parents[2] / "egs2" / "digits" / "asr_stnas1" / "conf"


def recogniser(name: str, corpus: Corpus) -> Recogniser:
    """Build a recogniser.

    Args:
        name: A space and a path of it, such as ``tdnn:001233``, or the name of a
            ``train_<name>.yaml`` of the digits recipe, such as ``conformer``, possibly
            of another width and with other ``linear_units``: ``conformer@52+110``.
        corpus: Gives input size and characters.
    """
    if ":" in name:
        space_name, path = name.split(":")
        space = fixed(space_name, tuple(int(k) for k in path))
        encoder = build_network(space, corpus.input_size)
        return Recogniser(encoder, space.output_width(corpus.input_size), corpus)
    name, _, sizes = name.partition("@")
    conf = _conf(name)
    options = conf["encoder_conf"]
    if sizes:
        width, units = map(int, sizes.split("+"))
        ratio = width / options["output_size"]
        for key in ("cgmlp_linear_units", "linear_units", "output_size"):
            if key in options:
                options[key] = round(options[key] * ratio)
        options["linear_units"] = units
    of_espnet = encoder_choices.get_class(conf["encoder"])(
        input_size=corpus.input_size, **options
    )
    return Recogniser(of_espnet, of_espnet.output_size(), corpus)


def parameters(model: Recogniser) -> int:
    """Return the number of parameters of its encoder."""
    return sum(p.numel() for p in model.encoder.parameters())


def of_size(name: str, corpus: Corpus, budget: float) -> str:
    """Return the name of ESPnet's encoder with the most parameters within a budget.

    Args:
        name: ``conformer`` or ``ebranchformer``.
        corpus: Gives the input size.
        budget: Parameters of the encoder.

    Raises:
        ValueError: If even its smallest feed-forward layers are too large.
    """
    usual = _conf(name)["encoder_conf"]
    heads, ratio = (
        usual["attention_heads"],
        usual["linear_units"] / usual["output_size"],
    )

    def fits(width: int, units: int) -> bool:
        return parameters(recogniser(f"{name}@{width}+{units}", corpus)) <= budget

    # Four: relative positions are sines and cosines, and heads are of equal width.
    widths = [w for w in range(heads, 257, 4) if fits(w, round(ratio * w))]
    if not widths:
        raise ValueError(f"{name} has more than {budget:.0f} parameters in any case")
    width = widths[-1]
    units = round(ratio * width)
    while fits(width, units + 1):
        units += 1
    return f"{name}@{width}+{units}"


def _conf(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((RECIPE / f"train_{name}.yaml").read_text())
    return found


def seeded(name: str, corpus: Corpus, seed: int) -> Recogniser:
    """Build a recogniser whose weights depend on the seed alone."""
    torch.manual_seed(seed)
    return recogniser(name, corpus)
