"""Encoders to compare: architectures of our spaces, and ESPnet's own."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from espnet2.tasks.asr import encoder_choices

from espnet_stnas.network.network import build_network
from lab.corpus import Corpus
from lab.model import Recogniser
from lab.spaces import fixed

RECIPE = Path(__file__).parents[2] / "egs2" / "digits" / "asr_stnas1" / "conf"


def recogniser(name: str, corpus: Corpus) -> Recogniser:
    """Build a recogniser.

    Args:
        name: A space and a path of it, such as ``tdnn:001233``, or the name of a
            ``train_<name>.yaml`` of the digits recipe, such as ``conformer``.
        corpus: Gives input size and characters.
    """
    if ":" in name:
        space_name, path = name.split(":")
        space = fixed(space_name, tuple(int(k) for k in path))
        encoder = build_network(space, corpus.input_size)
        return Recogniser(encoder, space.output_width(corpus.input_size), corpus)
    conf = yaml.safe_load((RECIPE / f"train_{name}.yaml").read_text())
    of_espnet = encoder_choices.get_class(conf["encoder"])(
        input_size=corpus.input_size, **conf["encoder_conf"]
    )
    return Recogniser(of_espnet, of_espnet.output_size(), corpus)


def parameters(model: Recogniser) -> int:
    """Return the number of parameters of its encoder."""
    return sum(p.numel() for p in model.encoder.parameters())


def seeded(name: str, corpus: Corpus, seed: int) -> Recogniser:
    """Build a recogniser whose weights depend on the seed alone."""
    torch.manual_seed(seed)
    return recogniser(name, corpus)
