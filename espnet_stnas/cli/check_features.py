"""Check that a search and a training have the same features, and print them.

ESPnet's recipes compute statistics once, and their directory's name does not tell the
features: another frontend would silently be normalised by the wrong ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.messages import quote

KEYS = ("frontend", "frontend_conf")


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command.

    Raises:
        ConfigError: If a file cannot be read, or the features differ.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search_config", help="YAML of a search")
    parser.add_argument("--train_config", required=True, help="YAML of a training")
    args = parser.parse_args(cmd)
    with plain_errors():
        train = read_yaml_mapping(Path(args.train_config), "training configuration")
        search = train
        if args.search_config is not None:
            search = read_yaml_mapping(Path(args.search_config), "search configuration")
        for key in KEYS:
            if search.get(key) != train.get(key):
                raise ConfigError(
                    f"{key} is {quote(search.get(key))} in {args.search_config} and "
                    f"{quote(train.get(key))} in {args.train_config}; accepted is the "
                    "same in both, since they share their statistics"
                )
        found = _as_json({key: train.get(key) for key in KEYS}, args.train_config)
    print(found)


def _as_json(features: dict[str, Any], path: str) -> str:
    try:
        return json.dumps(features, sort_keys=True)
    except TypeError as error:  # YAML has dates, and keys that are not text
        raise ConfigError(
            f"the features of {path} are {quote(features)}; accepted are what JSON can "
            f"hold ({error})"
        ) from None


if __name__ == "__main__":
    main()
