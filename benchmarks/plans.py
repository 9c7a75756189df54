"""The encoders that benchmarks compare, before they are built."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.messages import format_keys
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture

PAPER_SPACE = Path(__file__).parent.parent / "conf" / "space" / "tdnn_paper.yaml"
# The largest first, so that ESPnet's encoders get the size that the paper states.
PAPER_ROWS = {
    "stnas, all C2D2": ("tdnn-C2D2",) * 6,
    "stnas, C2 with D1,1,2,2,2,2": ("tdnn-C2D1",) * 2 + ("tdnn-C2D2",) * 4,
    "stnas, all C1D1": ("tdnn-C1D1",) * 6,
}
# How far a size may be from its target.
TOLERANCE = 0.1


def _attention(width: int, **conf: Any) -> dict[str, Any]:
    return {
        "output_size": width,
        "num_blocks": 12,
        "attention_heads": 4,
        "input_layer": "conv2d",
        **conf,
    }


# Width -> encoder_conf. The shapes are those of ESPnet's recipes at width 256 (320
# for vgg_rnn): training times depend on depth and ratios, not on parameters alone.
SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "conformer": lambda width: _attention(
        width,
        linear_units=4 * width,
        cnn_module_kernel=31,
        macaron_style=True,
        rel_pos_type="latest",
    ),
    "e_branchformer": lambda width: _attention(
        width,
        linear_units=4 * width,
        cgmlp_linear_units=4 * width,
        cgmlp_conv_kernel=31,
        merge_conv_kernel=31,
        use_ffn=True,
        macaron_ffn=True,
    ),
    "transformer": lambda width: _attention(width, linear_units=8 * width),
    "vgg_rnn": lambda width: {
        "num_layers": 4,
        "hidden_size": width,
        "output_size": width,
    },
}
# Widths must be multiples of the number of attention heads.
WIDTH_STEP = 4


@dataclass(frozen=True)
class Plan:
    """One row before it is measured: an ESPnet encoder name and its conf."""

    encoder: str
    conf: dict[str, Any]

    def build(self, input_size: int) -> torch.nn.Module:
        """The encoder, with random weights on torch's default device."""
        # ESPnet prints remarks to stdout, where results go.
        with redirect_stdout(sys.stderr):
            # Imported late: wrong options should not wait for all of ESPnet.
            from espnet2.tasks.asr import encoder_choices

            return encoder_choices.get_class(self.encoder)(input_size, **self.conf)

    def parameters(self, input_size: int) -> int:
        """How many parameters it has, found without allocating them."""
        with torch.device("meta"):
            return count(self.build(input_size))

    @property
    def size(self) -> str:
        """Its sizes in words."""
        if self.encoder == "stnas":
            return f"{len(self.conf['layers'])} layers, width {self.conf['width']}"
        return ", ".join(f"{k} {v}" for k, v in self.conf.items() if type(v) is int)


def count(encoder: torch.nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in encoder.parameters())


def paper_plans() -> dict[str, Plan]:
    """Three architectures of the paper's search space."""
    conf = read_yaml_mapping(PAPER_SPACE, "search space")["encoder_conf"]
    space = SearchSpace.from_conf(conf)
    plans = {}
    for name, ops in PAPER_ROWS.items():
        indices = [
            [str(candidate) for candidate in layer.candidates].index(op)
            for layer, op in zip(space.choices, ops, strict=True)
        ]
        plans[name] = Plan("stnas", space.resolve(indices).to_conf())
    return plans


def read_plan(path: str) -> Plan:
    """Read an architecture file, or any YAML file with an ``encoder_conf``.

    Raises:
        ConfigError: If it is missing or damaged, is for another encoder, or leaves a
            choice open.
    """
    data = read_yaml_mapping(path, "encoder_conf file")
    if "format" in data:
        return Plan("stnas", Architecture.read(path).space.to_conf())
    if data.get("encoder", "stnas") != "stnas":
        raise ConfigError(
            f"{path} is for the encoder {data['encoder']!r}; accepted is 'stnas'"
        )
    if not isinstance(data.get("encoder_conf"), dict):
        raise ConfigError(
            f"{path} has no mapping under the key 'encoder_conf'; "
            f"found {format_keys(data)}"
        )
    try:
        space = SearchSpace.from_conf(data["encoder_conf"])
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not space.is_architecture:
        raise ConfigError(
            f"{path} has {len(space.choices)} choices left; accepted is one operation "
            "in every layer"
        )
    return Plan("stnas", space.to_conf())


def sized_plan(encoder: str, target: int, input_size: int) -> Plan:
    """An ESPnet encoder of the width whose parameters are nearest to a target.

    Raises:
        ConfigError: If the nearest is more than 10 % off.
    """

    def at(steps: int) -> tuple[Plan, int]:
        plan = Plan(encoder, SHAPES[encoder](WIDTH_STEP * steps))
        return plan, plan.parameters(input_size)

    high = 1
    while at(high)[1] < target:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle)[1] < target else (low, middle)
    nearest = [at(steps) for steps in (low, high) if steps > 0]
    plan, found = min(nearest, key=lambda pair: abs(pair[1] - target))
    if abs(found - target) > TOLERANCE * target:
        raise ConfigError(
            f"the encoder {encoder} cannot have about {target:,} parameters: the "
            f"nearest is {found:,} ({plan.size}), more than {TOLERANCE:.0%} off; give "
            "another number with --parameters or leave the encoder out with --encoders"
        )
    return plan
