"""Make the connected-digit corpus of the recipe egs2/digits/asr_stnas1."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from digit_corpus import DigitOptions, prepare

from espnet_stnas.errors import plain_errors
from espnet_stnas.messages import one_line


def get_parser() -> argparse.ArgumentParser:
    """The command line; DigitOptions checks the values."""
    parser = argparse.ArgumentParser(
        prog="local/make_digits.py",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--corpus", default="tts", help="tts (synthetic) or fsdd (real speech)")
    add("--variant", default="clean", help="clean or hard")
    add("--data", type=Path, default="data", help="folder for train, dev and test")
    add("--data_seed", type=int, default=0, help="same seed, same files")
    add("--sample_rate", type=int, default=8000, help="8000 or 16000 Hz")
    add("--train_minutes", type=float, default=30.0, help="duration of train")
    add("--dev_minutes", type=float, default=3.0, help="duration of dev")
    add("--test_minutes", type=float, default=6.0, help="duration of test")
    add(
        "--fsdd_dir",
        type=lambda path: Path(path) if path else None,
        help="folder that is, or contains, recordings/; downloaded if left out",
    )
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command line ``cmd``, by default that of the process."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        with plain_errors():
            prepare(DigitOptions(**vars(args)))
    except (ValueError, ImportError, ConnectionError) as error:
        parser.error(one_line(error))
    except KeyboardInterrupt:  # run.sh says how to go on
        parser.exit(130)


if __name__ == "__main__":
    main()
