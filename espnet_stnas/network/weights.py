"""Reads weights of encoders from the files that ESPnet writes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, check_sums
from espnet_stnas.network.loading import digest_key
from espnet_stnas.network.network import NetworkLayer
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.ops import Operation
from espnet_stnas.ops.sharing import share_weights

Weights = dict[str, torch.Tensor]
_LAYER = re.compile(r"(.*?)network\.layers\.(\d+)\.([^.]+)\.")


def read_weights(path: PathLike) -> Weights:
    """Read the weights in a model file (``5epoch.pth``) or a ``checkpoint.pth``.

    Raises:
        ConfigError: If the file is missing or damaged, or holds something else.
    """
    path = Path(path)
    try:
        check_sums(path)
        data = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist; accepted is a file with weights, such as "
            "5epoch.pth or checkpoint.pth"
        ) from None
    except Exception:  # torch raises many kinds of errors at damaged files
        raise ConfigError(
            f"{path} cannot be read as weights; accepted is a file that ESPnet's "
            "training wrote, such as 5epoch.pth or checkpoint.pth"
        ) from None
    data = data.get("model", data) if isinstance(data, dict) else None
    if not data or not all(isinstance(v, torch.Tensor) for v in data.values()):
        raise ConfigError(
            f"{path} holds something else than weights; accepted is a file that "
            "ESPnet's training wrote, such as 5epoch.pth or checkpoint.pth"
        )
    return dict(data)


def inherited(
    weights: Mapping[str, torch.Tensor],
    space: SearchSpace,
    architecture: SearchSpace,
    source: PathLike,
    input_size: int,
) -> Weights:
    """Return the weights of one path of a supernet and of the rest of its model.

    If the candidates share their weights, the path gets copies of its slices.

    Args:
        weights: Tensors (any shape) of a model with a supernet, by their names.
        space: The search space.
        architecture: The path: an architecture of the space.
        source: Name of the source of the weights, for messages.
        input_size: Dimensions of an input frame.

    Raises:
        ConfigError: If the weights belong to another space.
    """
    space.index(architecture)
    prefix = _prefix(weights, source)
    found: dict[int, set[str]] = {}
    for key in weights:
        match = _LAYER.match(key)
        if match and match[1] == prefix:
            found.setdefault(int(match[2]), set()).add(match[3])
    for index, layer in enumerate(space.layers):
        names = {str(op) for op in layer.candidates}
        have = found.get(index, set()) - {"shared"}
        # Operations without weights have no keys, but every choice has logits.
        logits = weights.get(f"{prefix}network.layers.{index}.logits")
        choices = len(names) if layer.is_choice else 0
        if not have <= names or choices != (0 if logits is None else len(logits)):
            raise ConfigError(
                f"{source} holds the weights of another search space: "
                f"{space.layer_name(index)} is {' | '.join(sorted(have)) or 'missing'} "
                f"there, and {' | '.join(sorted(names))} in the search"
            )
    own = prefix + digest_key(space)
    if own not in weights:
        raise ConfigError(
            f"{source} holds the weights of another search space: its layers with "
            "weights agree with those of the search, but residual, the blocks or "
            "operations without weights (identity, zero) differ"
        )
    chosen = [str(layer.candidates[0]) for layer in architecture.layers]
    kept: Weights = {}
    for key, value in weights.items():
        match = re.match(r"network\.layers\.(\d+)\.([^.]+)", key[len(prefix) :])
        if key == own:
            kept[prefix + digest_key(architecture)] = value
        elif not key.startswith(prefix) or match is None:
            kept[key] = value
        elif match[2] == chosen[int(match[1])]:
            kept[key] = value
    if space.sharing == "kernel":
        kept.update(_slices(weights, space, chosen, prefix, input_size))
    return kept


def _slices(
    weights: Mapping[str, torch.Tensor],
    space: SearchSpace,
    chosen: Sequence[str],
    prefix: str,
    input_size: int,
) -> Weights:
    """Return the chosen operations' slices of shared weights."""
    found: Weights = {}
    shapes = space.shapes(input_size)
    for index, (layer, shape) in enumerate(zip(space.layers, shapes, strict=True)):
        if not layer.is_choice:
            continue
        start = f"{prefix}network.layers.{index}."
        with torch.device("meta"):
            block = NetworkLayer(layer, shape, space)
            groups = share_weights(block.operations)
        operation = block.get_submodule(chosen[index])
        assert isinstance(operation, Operation)
        if operation.borrowing is None:
            continue
        number = list(groups).index(operation.borrowing.shared)
        begin = f"{start}shared.{number}."
        shared = {
            key[len(begin) :]: value
            for key, value in weights.items()
            if key.startswith(begin)
        }
        for name, value in operation.borrowing.slices(shared).items():
            found[f"{start}{chosen[index]}.{name}"] = value
    return found


def _prefix(weights: Mapping[str, torch.Tensor], source: PathLike) -> str:
    prefixes = {match[1] for key in weights if (match := _LAYER.match(key))}
    if len(prefixes) != 1:
        raise ConfigError(
            f"{source} holds the weights of {len(prefixes)} encoders 'stnas'; accepted "
            "is a file with one"
        )
    return prefixes.pop()
