"""Turn a config.json of the ST-NAS paper's code into a search space."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Optional

from espnet_stnas.errors import plain_errors
from espnet_stnas.files import dump_yaml, write_text
from espnet_stnas.notation.reference import import_config


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="config.json to read")
    parser.add_argument(
        "--output", required=True, help="YAML to write, with encoder and encoder_conf"
    )
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    with plain_errors():
        space = import_config(args.config)
        conf = {"encoder": "stnas", "encoder_conf": space.to_conf()}
        write_text(args.output, dump_yaml(conf))
    print(
        f"{args.output}: {len(space.choices)} choices, {space.num_architectures} "
        "architectures"
    )


if __name__ == "__main__":
    main()
