"""Check that a training and a search have the same features, and print them.

ESPnet's recipes compute statistics once, and their directory's name does not tell the
features: another frontend would silently be normalised by the wrong ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.messages import quote
from espnet_stnas.results.derive import read_template

KEYS = ("frontend", "frontend_conf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("train", metavar="TRAIN", help="YAML of a training")
    parser.add_argument("search", metavar="SEARCH", nargs="?", help="YAML of a search")


def run(args: argparse.Namespace) -> None:
    """Compare the features.

    Raises:
        ConfigError: If a file cannot be read, TRAIN is a search, or the features
            differ.
    """
    train = read_template(args.train)
    if args.search is not None:
        search = read_yaml_mapping(Path(args.search), "search configuration")
        for key in KEYS:
            if search.get(key) != train.get(key):
                raise ConfigError(
                    f"{key} is {quote(search.get(key))} in {args.search} and "
                    f"{quote(train.get(key))} in {args.train}; accepted is the same "
                    "in both, since they share their statistics"
                )
    print(_as_json({key: train.get(key) for key in KEYS}, args.train))


def _as_json(features: dict[str, Any], path: str) -> str:
    try:
        return json.dumps(features, sort_keys=True)
    except TypeError as error:  # YAML allows dates, and keys that are not text
        raise ConfigError(
            f"the features of {path} are {quote(features)}; accepted are what JSON can "
            f"hold ({error})"
        ) from None
