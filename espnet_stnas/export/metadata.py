"""What a program that runs an exported model needs to know about it. No torch."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from espnet_stnas.files import read_bytes
from espnet_stnas.notation.reach import View, view_of
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.version import __version__

FORMAT = "espnet_stnas 1"
STREAMING = "streaming"
"""The mode of files that take one chunk after the other; of others, it is offline."""


def metadata_of(
    *,
    given: str,
    space: SearchSpace,
    input_size: int,
    weights: Path,
    options: Any,
    tokens: Sequence[str] = (),
    blank: int = 0,
) -> dict[str, str]:
    """Return what a file says about itself; all values are texts.

    Lists and mappings are JSON. ``lookahead_ms`` is ``inf`` if the first output needs
    the whole utterance, as with ``utterance_mvn``; ``encoder_lookahead_ms`` is of the
    network alone. Times are missing if the training does not name its features.

    Args:
        given: What goes in: ``speech``, ``features`` or ``frames``.
        space: The architecture.
        input_size: Dimensions of a frame of features.
        weights: File of the weights.
        options: Options of the training.
        tokens: The output symbols; none for an encoder alone.
        blank: Place of the blank among them.
    """
    view = view_of(space)
    found: dict[str, Any] = {
        "format": FORMAT,
        "mode": "offline",
        "input": given,
        "input_size": 1 if given == "speech" else input_size,
        "normalize": getattr(options, "normalize", None) or "none",
        "subsampling": view.stride,
        "left_frames": view.left,
        "right_frames": view.right,
        **_times(view, options),
        "architecture": space.to_conf(),
        "architecture_digest": space.digest,
        "weights": weights.name,
        "weights_sha256": hashlib.sha256(read_bytes(weights, "weights")).hexdigest(),
        "versions": _versions(),
    }
    if tokens:
        found |= {
            "tokens": list(tokens),
            "token_type": str(options.token_type),
            "blank": blank,
        }
    return {
        key: value if isinstance(value, str) else _text(value)
        for key, value in found.items()
    }


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return json.dumps(value, ensure_ascii=False)


def _times(view: View, options: Any) -> dict[str, Any]:
    """Return sample rate, frame shift, look-ahead and features, if they are known."""
    conf = dict(getattr(options, "frontend_conf", None) or {})
    if getattr(options, "frontend", None) != "default":
        return {}
    # The defaults of ESPnet's DefaultFrontend.
    rate, size = _rate(conf.get("fs", 16000)), conf.get("n_fft", 512)
    hop, center = conf.get("hop_length", 128), conf.get("center", True)
    window = conf.get("win_length") or size
    shift = 1000 * hop / rate
    # A centred frame begins half a window before its time.
    ahead = 1000 * (window / 2 if center else (size + window) / 2) / rate
    network = view.right * shift
    whole = getattr(options, "normalize", None) == "utterance_mvn"
    return {
        "sample_rate": rate,
        "frame_shift_ms": float(shift),
        "encoder_lookahead_ms": float(network),
        "lookahead_ms": math.inf if whole else float(network + ahead),
        "frontend": {**conf, "fs": rate},
    }


def _rate(value: Any) -> int:
    """Return samples per second; ESPnet also accepts ``8k``."""
    text = str(value).strip().lower()
    return round(1000 * float(text[:-1])) if text.endswith("k") else int(text)


def _versions() -> dict[str, str]:
    return {
        "espnet_stnas": __version__,
        **{name: version(name) for name in ("espnet", "torch")},
        "python": platform.python_version(),
    }
