"""Finds what is installed or missing for searches, recipes and extras."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.host import autoload
from espnet_stnas.notation.plugins import load_plugins
from espnet_stnas.version import __version__

RECIPE = Path("egs2", "TEMPLATE", "asr1", "asr.sh")
_INSTALL = "pip install"
# Programs of ESPnet's recipes: their purpose, how to install them, and their places
# below ESPNET_ROOT, besides the path.
_PROGRAMS = {
    "sox": ("speed perturbation in recipes", "apt-get install sox", ()),
    "sclite": (
        "scoring in recipes (wsj, swbd)",
        "apt-get install sctk, or tools/installers/install_sctk.sh of ESPnet",
        ("tools/sctk/bin", "/usr/lib/sctk/bin"),
    ),
    "sph2pipe": (
        "the corpora of wsj and swbd",
        "tools/installers/install_sph2pipe.sh of ESPnet",
        ("tools/sph2pipe", "tools/sph2pipe_v2.5"),
    ),
}
# Packages: their purpose, and whether everything needs them.
_PACKAGES = {
    "torchaudio": ("ESPnet's features", True),
    "configargparse": ("options from a YAML", True),
    "matplotlib": ("figures of the report", True),
    "jinja2": ("the page of the report", True),
    "kaldiio": ("scripts of ESPnet's recipes", True),
    "sentencepiece": ("units of type bpe", False),
    "tensorboard": ("curves while a search runs", False),
    "wandb": ("curves on wandb.ai", False),
}
# Extras of this package: their purpose, and the modules that they install.
_EXTRAS = {
    "demo": ("the recipe of digits", ("espeakng_loader", "jiwer")),
    "decode": ("decoding with a lexicon and a word LM", ("flashlight", "jiwer")),
    "export": ("ONNX", ("onnx", "onnxscript", "onnxruntime")),
}


@dataclass(frozen=True)
class Finding:
    """A part of the environment that is present or missing.

    Args:
        name: Name of the part.
        found: Its version, place or state; None: missing.
        needed_for: Its purpose.
        remedy: Command that installs it if it is missing.
        required: Whether everything needs it.
    """

    name: str
    found: Optional[str]
    needed_for: str = ""
    remedy: str = ""
    required: bool = False


def findings() -> list[Finding]:
    """Check this environment. The check imports torch, but not ESPnet."""
    root = os.environ.get("ESPNET_ROOT", "")
    return [
        Finding("Python", f"{platform.python_version()}, {sys.executable}"),
        Finding("system", platform.platform()),
        Finding("espnet_stnas", f"{__version__}, {Path(__file__).parents[1]}"),
        *_torch(),
        _espnet(),
        *(_package(name, *rest) for name, rest in _PACKAGES.items()),
        _checkout(root),
        *(_program(name, root, *rest) for name, rest in _PROGRAMS.items()),
        *(_extra(name, *rest) for name, rest in _EXTRAS.items()),
        _autoload(),
        _plugins(),
    ]


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except ImportError:
        yield Finding("torch", None, "everything", f"{_INSTALL} torch", required=True)
        return
    yield Finding("torch", str(torch.__version__))
    names = [
        torch.cuda.get_device_name(n)
        for n in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    yield Finding(
        "GPUs",
        ", ".join(names) or None,
        "--ngpu above 0",
        f"a GPU and its driver (this torch has {built}); --ngpu 0 searches on the CPU",
    )


def _espnet() -> Finding:
    spec = importlib.util.find_spec("espnet2")
    if spec is None:
        remedy = f"{_INSTALL} espnet"
        return Finding("ESPnet", None, "everything", remedy, required=True)
    places = list(spec.submodule_search_locations or [])
    place = Path(places[0]).parent if places else "?"
    return Finding("ESPnet", f"{_version('espnet') or 'unknown version'}, {place}")


def _package(name: str, needed_for: str, required: bool) -> Finding:
    found = importlib.util.find_spec(name) is not None
    return Finding(
        name,
        (_version(name) or "installed") if found else None,
        needed_for,
        f"{_INSTALL} {name}",
        required,
    )


def _checkout(root: str) -> Finding:
    remedy = "git clone https://github.com/espnet/espnet, export ESPNET_ROOT=.../espnet"
    found: Optional[str] = None
    if root and not Path(root, RECIPE).is_file():
        remedy = f"{root} has no {RECIPE}; {remedy}"
    elif root:
        file = Path(root, "version.txt")
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        found = f"{text.strip() or 'unknown version'}, {root}"
    return Finding("ESPNET_ROOT", found, "recipes with asr.sh (wsj, swbd)", remedy)


def _program(
    name: str, root: str, needed_for: str, remedy: str, places: Sequence[str]
) -> Finding:
    path = os.pathsep.join(
        [os.environ.get("PATH", ""), *(str(Path(root, p)) for p in places)]
    )
    return Finding(name, shutil.which(name, path=path), needed_for, remedy)


def _extra(name: str, needed_for: str, modules: Sequence[str]) -> Finding:
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    return Finding(
        f"extra '{name}'",
        None if missing else ", ".join(modules),
        needed_for,
        f"{_INSTALL} 'espnet-stnas[{name}]' (lacks {', '.join(missing)})",
    )


def _autoload() -> Finding:
    try:
        state = "enabled" if autoload.enabled() else None
    except ConfigError:
        state = None
    return Finding(
        "autoload",
        state,
        "encoder 'stnas' in plain python3, without espnet_stnas.run",
        "stnas autoload enable",
    )


def _plugins() -> Finding:
    try:
        names = load_plugins()
    except ConfigError as error:
        return Finding("plugins", None, "your operations", str(error), required=True)
    return Finding("plugins", ", ".join(names) or "none installed")


def _version(name: str) -> Optional[str]:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
