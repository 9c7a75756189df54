"""The program of a search: a training of an ESPnet task with a supernet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Optional

from espnet_stnas.errors import plain_errors
from espnet_stnas.notation.plugins import load_plugins
from espnet_stnas.search.checks import check_config
from espnet_stnas.search.names import TASKS
from espnet_stnas.search.tasks import search_task


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Train a supernet and its architecture logits.

    Args:
        cmd: Command line of ESPnet's training, and ``--task``; default: the arguments
            of the process.

    Example:
        % stnas search --task st --print_config > search.yaml
        % stnas search --task st --config search.yaml
    """
    options = list(sys.argv[1:] if cmd is None else cmd)
    with plain_errors():
        chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        chooser.add_argument("--task", default="asr", help=", ".join(TASKS))
        chosen, options = chooser.parse_known_args(options)
        load_plugins()  # --estimator also accepts the estimators of plugins
        search = search_task(chosen.task)
        given = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        given.add_argument("--config")
        config = given.parse_known_args(options)[0].config
        if config is not None:
            check_config(search.get_parser(), config)
        search.main(cmd=options)


if __name__ == "__main__":
    main()
