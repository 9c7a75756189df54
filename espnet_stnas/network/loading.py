"""Refuse weights of another architecture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch


def refuse_other_architecture(
    module: torch.nn.Module,
    state_dict: Mapping[str, torch.Tensor],
    prefix: str,
    *_: Any,
) -> None:
    """Pre-hook of ``load_state_dict`` that accepts all of an encoder or nothing.

    ESPnet loads models for inference with ``strict=True``, which would leave the
    layers of another architecture at their random values without a word. Operations
    are named in the keys, so the keys tell architectures apart even where all shapes
    agree (dilations 1 and 2).

    Args:
        module: The encoder.
        state_dict: Tensors (any shape) of the checkpoint by their names.
        prefix: What the names of the encoder's tensors begin with.
        _: What torch hands over besides.

    Raises:
        RuntimeError: If keys or shapes of the encoder's part of the state dict differ
            from the encoder's own.
    """
    own = module.state_dict()
    given = {
        key[len(prefix) :]: value
        for key, value in state_dict.items()
        if key.startswith(prefix)
    }
    if own.keys() != given.keys():
        own_ops, given_ops = _operations(own), _operations(given)
        layers = sorted(own_ops.keys() | given_ops.keys())
        differing = [n for n in layers if own_ops.get(n) != given_ops.get(n)]
        details = "; ".join(
            f"layer {n + 1} is {_names(own_ops.get(n))} here and "
            f"{_names(given_ops.get(n))} in the checkpoint"
            for n in differing[:3]
        ) or _key_difference(own.keys(), given.keys())
        raise RuntimeError(
            "the checkpoint holds the weights of another architecture than this "
            f"'stnas' encoder: {details}. Use the config.yaml of the experiment that "
            "the checkpoint comes from"
        )
    for key, value in own.items():
        if value.shape != given[key].shape:
            raise RuntimeError(
                "the checkpoint holds the weights of another 'stnas' encoder: "
                f"'{key}' has the shape {tuple(value.shape)} here and "
                f"{tuple(given[key].shape)} in the checkpoint. Use the config.yaml of "
                "the experiment that the checkpoint comes from"
            )


def _operations(keys: Iterable[str]) -> dict[int, list[str]]:
    """The operations of each layer, read from keys like network.layers.0.NAME.x."""
    operations: dict[int, list[str]] = {}
    for key in keys:
        parts = key.split(".")
        if parts[:2] == ["network", "layers"] and parts[2].isdigit():
            names = operations.setdefault(int(parts[2]), [])
            if parts[3] not in ("logits", "score_offset", *names):
                names.append(parts[3])
    return operations


def _names(names: list[str] | None) -> str:
    return "missing" if not names else " | ".join(names)


def _key_difference(own: Iterable[str], given: Iterable[str]) -> str:
    missing, extra = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    return (
        f"{len(missing)} keys are missing and {len(extra)} are unknown, such as "
        f"'{(missing + extra)[0]}'"
    )
