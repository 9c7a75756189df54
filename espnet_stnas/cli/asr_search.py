"""Search an architecture: ESPnet's ASR training of a supernet."""

from __future__ import annotations

from typing import Optional, Sequence

import espnet_stnas  # noqa: F401  (registers the encoder, here and in spawned workers)
from espnet_stnas.cli import search
from espnet_stnas.search.task import SearchASRTask


def get_parser():  # type: ignore[no-untyped-def]
    """The parser of all options, for ESPnet's tools."""
    return SearchASRTask.get_parser()


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Train a supernet and its architecture logits.

    Example:
        % python3 -m espnet_stnas.cli.asr_search --print_config > conf/search.yaml
        % python3 -m espnet_stnas.cli.asr_search --config conf/search.yaml
    """
    search.main(cmd, task="asr")


if __name__ == "__main__":
    main()
