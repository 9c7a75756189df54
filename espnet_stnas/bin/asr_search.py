"""Search an architecture: ESPnet's ASR training of a supernet."""

from __future__ import annotations

import argparse
from typing import Optional, Sequence

import espnet_stnas  # noqa: F401  (registers the encoder, here and in spawned workers)
from espnet_stnas.errors import plain_errors
from espnet_stnas.search.options import check_config
from espnet_stnas.search.task import SearchASRTask


def get_parser():  # type: ignore[no-untyped-def]
    """The parser of all options, for ESPnet's tools."""
    return SearchASRTask.get_parser()


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Train a supernet and its architecture logits.

    Example:
        % python3 -m espnet_stnas.bin.asr_search --print_config > conf/search.yaml
        % python3 -m espnet_stnas.bin.asr_search --config conf/search.yaml
    """
    with plain_errors():
        given = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        given.add_argument("--config")
        config = given.parse_known_args(cmd)[0].config
        if config is not None:
            check_config(get_parser(), config)
        SearchASRTask.main(cmd=cmd)


if __name__ == "__main__":
    main()
