"""Makes ESPnet's loop skip steps whose loss is not finite."""

from __future__ import annotations

from typing import Any

import torch

# Default limit of skipped steps in a row. A loss scaler that starts at 2^16 may skip a
# dozen steps until it has found its scale.
MAX_SKIPPED = 50


def nan_gradients(module: torch.nn.Module, inputs: Any, result: Any) -> Any:
    """Turn a loss that is not finite into NaN gradients, as a forward hook.

    ESPnet checks only gradients, and skips a step if the gradient is not finite.

    Args:
        module: An ESPnet model, not wrapped for parallel training.
        inputs: Its positional inputs.
        result: Its output, in either form.
    """
    loss = result["loss"] if isinstance(result, dict) else result[0]
    good = torch.isfinite(loss.detach())
    loss = loss * torch.where(good, 1.0, float("nan")).to(loss.dtype)
    if isinstance(result, dict):
        return {**result, "loss": loss}
    return (loss, *result[1:])
