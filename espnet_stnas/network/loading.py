"""Refuses weights of another architecture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from espnet_stnas.notation.space import SearchSpace

_DIGEST = re.compile("architecture_([0-9a-f]{12})")


def digest_key(space: SearchSpace) -> str:
    """Return the key that identifies the architecture in a state dict.

    The digest is part of the key, not a value: ESPnet averages and casts values, and
    with ``ignore_init_mismatch`` it skips keys that differ. The digest ignores
    dropout, which a training may change.
    """
    return f"architecture_{replace(space, dropout_rate=0.0).digest}"


def refuse_other_architecture(
    module: torch.nn.Module,
    state_dict: Mapping[str, torch.Tensor],
    prefix: str,
    *_: Any,
) -> None:
    """Refuse weights of another architecture, as a pre-hook of ``load_state_dict``.

    ESPnet loads models for inference with ``strict=False``, which would silently leave
    the layers of another architecture at their random values. The keys of a state dict
    name the operations and the digest of the architecture, so they differ even if all
    shapes agree (dilations 1 and 2), and if only skips, the wiring or operations
    without weights differ.

    Args:
        module: The encoder.
        state_dict: Tensors (any shape) of the checkpoint by their names.
        prefix: Prefix of the encoder's names in the state dict.
        _: Further arguments from torch, not used.

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
    different_shapes = [
        key for key in own if key in given and own[key].shape != given[key].shape
    ]
    if own.keys() == given.keys() and not different_shapes:
        return
    # ESPnet's --init_param merges the keys of a file into the encoder's own.
    theirs, ours = _digests(given) - _digests(own), _digests(own)
    raise RuntimeError(
        "the checkpoint holds the weights of another architecture than this 'stnas' "
        f"encoder ({', '.join(theirs or _digests(given)) or 'not named'} there, "
        f"{', '.join(ours)} here): {_difference(own, given, different_shapes)}. Use "
        "the config.yaml of the experiment that the checkpoint comes from"
    )


def _difference(
    own: Mapping[str, torch.Tensor],
    given: Mapping[str, torch.Tensor],
    different_shapes: Sequence[str],
) -> str:
    own_ops, given_ops = _operations(own), _operations(given)
    layers = sorted(own_ops.keys() | given_ops.keys())
    differing = [n for n in layers if own_ops.get(n) != given_ops.get(n)]
    if differing:
        return "; ".join(
            f"layer {n + 1} is {_names(own_ops.get(n))} here and "
            f"{_names(given_ops.get(n))} in the checkpoint"
            for n in differing[:3]
        )
    missing = {k for k in own.keys() - given.keys() if not _DIGEST.fullmatch(k)}
    unknown = {k for k in given.keys() - own.keys() if not _DIGEST.fullmatch(k)}
    if missing or unknown:
        return (
            f"{len(missing)} keys are missing and {len(unknown)} are unknown, such as "
            f"'{min(missing or unknown)}'"
        )
    if different_shapes:
        key = different_shapes[0]
        return (
            f"'{key}' has the shape {tuple(own[key].shape)} here and "
            f"{tuple(given[key].shape)} in the checkpoint"
        )
    return (
        "layers with weights agree, but residual, the blocks or operations without "
        "weights (identity, zero) differ"
    )


def _digests(keys: Iterable[str]) -> set[str]:
    """Return the digests in the keys of an encoder; normally there is one."""
    return {match[1] for key in keys if (match := _DIGEST.fullmatch(key))}


def _operations(keys: Iterable[str]) -> dict[int, list[str]]:
    """Return each layer's operations from keys like network.layers.0.NAME.x."""
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
