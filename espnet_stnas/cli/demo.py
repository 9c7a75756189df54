"""Search, retrain, decode and score on spoken digits: the digits recipe.

It makes half an hour of synthetic speech, searches among 4096 small encoders, trains
the one that it found, and prints error rates and a report; this takes some minutes on
two CPU cores. All other options than those below are options of the recipe, such as
--corpus fsdd or --baselines true; DIR/run.sh --help lists them. The same command goes
on where it was stopped.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from espnet_stnas.errors import ConfigError

# Where wheels have the recipe, and where a clone has it.
_PLACES = ("demo", "../egs2/digits/asr_stnas1")
_PARTS = ("run.sh", "path.sh", "README.md", "conf", "local")
# What the recipe needs besides this package, by the name that it imports.
_NEEDS = ("espeakng_loader", "jiwer", "scipy")
PASSES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--dir",
        default="stnas_demo",
        help="Directory for a copy of the recipe, and for all that it makes",
    )


def run(args: argparse.Namespace) -> None:
    """Copy the recipe, and become it."""
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} cannot be imported, which the demo needs; type: pip "
            "install 'espnet-stnas[demo]'"
        )
    if shutil.which("bash") is None:
        raise ConfigError("bash is not there, which the demo needs")
    target = Path(args.dir)
    if not (target / "run.sh").exists():
        copy_recipe(target)
    words = ["bash", str(target / "run.sh"), "--python", sys.executable, *args.passed]
    sys.stdout.flush()
    os.execvp(words[0], words)


def copy_recipe(target: Path) -> None:
    """Copy the recipe, without what it made before.

    Args:
        target: The directory of the copy.

    Raises:
        ConfigError: If the directory has other files.
    """
    if target.is_dir() and any(target.iterdir()):
        raise ConfigError(
            f"{target} has files, but no copy of the recipe; accepted is a new "
            "directory, or one of an earlier demo"
        )
    package = Path(__file__).parents[1]
    source = next(p for p in map(package.joinpath, _PLACES) if (p / "run.sh").exists())
    target.mkdir(parents=True, exist_ok=True)
    # The program to start comes last, so that half a copy is noticed.
    for name in reversed(_PARTS):
        if (source / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source / name, target / name, ignore=ignored)
        else:
            shutil.copy(source / name, target / name)
