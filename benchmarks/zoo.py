"""Puts the best architecture of each table of evidence into the zoo.

    python benchmarks/zoo.py

Reads ``benchmarks/tables/*_evidence*.csv`` (benchmarks/evidence.py). Of the
architectures that the searches of a table found, the one whose trainings have the
lowest mean loss on the development part is written to ``espnet_stnas/results/zoo``,
with its errors on the test part: their mean and standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from evidence import SEARCHED, Row
from lab.corpus import MELS
from lab.spaces import fixed

from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import Provenance

ROOT = Path(__file__).parents[1]
# Names of corpora for people, and what is counted as an error.
CORPORA = {
    "fsdd_hard": ("connected digits, recorded, with noise", "test_wer", "WER"),
    "tts_hard": ("connected digits, synthetic, with noise", "test_wer", "WER"),
    "so762_phones": ("speechocean762, phones", "test_cer", "PER"),
}


def best_of(table: Path) -> tuple[str, list[Row]]:
    """Return the encoder with the lowest loss, and its trainings.

    Args:
        table: A table of evidence.
    """
    trainings: dict[str, dict[str, Row]] = defaultdict(dict)
    with table.open(newline="") as file:
        for row in (Row(**r) for r in csv.DictReader(file)):
            if row.kind in SEARCHED and row.kind != "sharing":
                # Several searches may have found it; a training counts once.
                trainings[row.encoder][row.seed] = row
    name, rows = min(
        trainings.items(),
        key=lambda item: statistics.mean(float(r.dev_loss) for r in item[1].values()),
    )
    return name, list(rows.values())


def entry(table: Path) -> tuple[str, Architecture]:
    """Return the name and the architecture that a table adds to the zoo."""
    encoder, rows = best_of(table)
    space, _, path = encoder.partition(":")
    corpus, metric, unit = CORPORA[rows[0].corpus]
    errors = [float(getattr(row, metric)) for row in rows]
    text = f"{unit} {statistics.mean(errors):.1f} %"
    if len(errors) > 1:
        text += f" (sd {statistics.stdev(errors):.1f} over {len(errors)} trainings)"
    provenance = Provenance(
        input_size=MELS,
        others={
            "corpus": corpus,
            "errors": text,
            "training": f"{rows[0].steps} updates, benchmarks/evidence.py",
            "table": str(table.relative_to(ROOT)),
        },
    )
    size = round(int(rows[0].parameters) / 1000)
    name = f"{rows[0].corpus}-{space}-{size}k".replace("_", "-")
    architecture = fixed(space, tuple(int(k) for k in path))
    return name, Architecture(architecture, provenance)


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Write the files."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(cmd)
    for table in sorted((ROOT / "benchmarks" / "tables").glob("*_evidence*.csv")):
        name, architecture = entry(table)
        path = ROOT / "espnet_stnas" / "results" / "zoo" / f"{name}.yaml"
        architecture.write(path)
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
