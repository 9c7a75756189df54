"""Whether a long search needs more and more memory or time.

    python benchmarks/creep.py

A search of thousands of steps with a tiny network: what grows with the number of steps
would show. Prints a row for every epoch.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import markdown_table
from benchmarks.processes import finish, run_main, start
from benchmarks.tiny_search import command, make_corpus, search_config


def watched_search(options: list[str], out: str) -> None:
    """Search, and write down after each epoch what the process holds."""
    from espnet_stnas.search.trainer import SearchTrainer

    epochs = []
    train = SearchTrainer.train_one_epoch.__func__

    def watched(cls: Any, *args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        result = train(cls, *args, **kwargs)
        seconds = time.perf_counter() - begin
        gc.collect()
        epochs.append(
            {
                "seconds": seconds,
                "megabytes": _resident_megabytes(),
                "objects": len(gc.get_objects()),
            }
        )
        return result

    SearchTrainer.train_one_epoch = classmethod(watched)
    run_main("espnet_stnas.search.program", options)
    Path(out).write_text(json.dumps(epochs))


def _resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(directory: Path, **changes: Any) -> list[dict[str, float]]:
    """Search with a tiny network; what the process held after each epoch."""
    corpus = make_corpus(directory / "corpus")
    config = search_config(warmup_epochs=0, log_interval=1000, **changes)
    out, log = directory / "epochs.json", directory / "log"
    options = command(corpus, directory / "exp", config)
    finish(start("benchmarks.creep:watched_search", log, options, str(out)), log, 3600)
    return json.loads(out.read_text())


def main(cmd: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument(
        "--steps", type=int, default=500, help="Weight and architecture steps an epoch"
    )
    args = parser.parse_args(cmd)
    with tempfile.TemporaryDirectory() as directory:
        epochs = measure(
            Path(directory), max_epoch=args.epochs, num_iters_per_epoch=args.steps
        )
    rows = [
        (
            (number + 1) * args.steps,
            f"{1000 * epoch['seconds'] / args.steps:.2f}",
            f"{epoch['megabytes']:.1f}",
            epoch["objects"],
        )
        for number, epoch in enumerate(epochs)
    ]
    columns = ("steps of both kinds", "ms a pair", "resident MB", "Python objects")
    print(markdown_table(columns, rows))


if __name__ == "__main__":
    main()
