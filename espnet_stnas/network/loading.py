"""Refuse weights of another architecture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from espnet_stnas.notation.space import SearchSpace

_DIGEST = re.compile("architecture_([0-9a-f]{12})")


def digest_key(space: SearchSpace) -> str:
    """The name in a state dict that says whose weights the other names hold.

    The digest is in the name, not in a value, as operations are: ESPnet averages and
    casts values, and leaves out what has other names if told to (ignore_init_mismatch).
    It is that of the space without dropout, which a training may well change.
    """
    return f"architecture_{replace(space, dropout_rate=0.0).digest}"


def refuse_other_architecture(
    module: torch.nn.Module,
    state_dict: Mapping[str, torch.Tensor],
    prefix: str,
    *_: Any,
) -> None:
    """Pre-hook of ``load_state_dict`` that accepts all of an encoder or nothing.

    ESPnet loads models for inference with ``strict=True``, which would leave the
    layers of another architecture at their random values without a word. Operations
    and the digest of the architecture are named in the keys, so the keys tell
    architectures apart even where all shapes agree (dilations 1 and 2), and where only
    skips, the wiring or operations without weights differ.

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
    different_shapes = [
        key for key in own if key in given and own[key].shape != given[key].shape
    ]
    if own.keys() == given.keys() and not different_shapes:
        return
    # ESPnet's --init_param adds the keys of a file to the encoder's own.
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
    """The digests in the keys of an encoder: one, if it is a whole one."""
    return {match[1] for key in keys if (match := _DIGEST.fullmatch(key))}


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
